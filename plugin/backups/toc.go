package backups

import (
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// TableEntry is a table in a toc.yaml that has data in this very backup.
type TableEntry struct {
	Schema       string `yaml:"schema"`
	Name         string `yaml:"name"`
	OID          uint32 `yaml:"oid"`
	RowsCopied   int64  `yaml:"rowscopied"`
	IsReplicated bool   `yaml:"isreplicated"`
}

// ReadTOC calls fn for every data entry of a toc.yaml, in order. An error is the
// reader's, fn's, or ErrMalformed.
func ReadTOC(r io.Reader, fn func(TableEntry) error) error {
	return eachBatch(r, "dataentries", func(document []byte) error {
		var entries []TableEntry
		if err := yaml.Unmarshal(document, &entries); err != nil {
			return fmt.Errorf("%w: toc.yaml: %w", ErrMalformed, err)
		}
		for _, e := range entries {
			if e.OID == 0 {
				return fmt.Errorf("%w: toc.yaml: data entry %.80q without oid", ErrMalformed, e.Name)
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// SegmentEntry says where a table lies in a segment's single data file, as
// offsets into the uncompressed data.
type SegmentEntry struct {
	StartByte uint64 `yaml:"startbyte"`
	EndByte   uint64 `yaml:"endbyte"`
}

// ReadSegmentTOC calls fn for every entry of a segment's toc.yaml, in no
// particular order. An error is the reader's, fn's, or ErrMalformed.
func ReadSegmentTOC(r io.Reader, fn func(oid uint32, e SegmentEntry) error) error {
	return eachBatch(r, "dataentries", func(document []byte) error {
		var entries map[uint32]SegmentEntry
		if err := yaml.Unmarshal(document, &entries); err != nil {
			return fmt.Errorf("%w: segment toc.yaml: %w", ErrMalformed, err)
		}
		for oid, e := range entries {
			if e.StartByte > e.EndByte {
				return fmt.Errorf("%w: segment toc.yaml: table %d ends before it begins", ErrMalformed, oid)
			}
			if err := fn(oid, e); err != nil {
				return err
			}
		}
		return nil
	})
}
