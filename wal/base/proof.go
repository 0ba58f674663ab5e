package base

import (
	"fmt"
	"strings"

	"github.com/gpdedup/gpdedup/wal"
)

// prove compares what came with what the server says it sent, and completes the Info.
func (s *stream) prove(manifest []byte) error {
	m, err := parseManifest(manifest)
	if err != nil {
		return err
	}
	for name, f := range m.files {
		got, ok := s.sums[name]
		if !ok {
			return fmt.Errorf("%w: %s is in backup_manifest, and did not come", errTar, name)
		}
		if f.algorithm != "CRC32C" {
			got.sum = nil // the length only; every byte is checked when the backup is verified
		}
		if err := f.check(name, got.size, got.sum); err != nil {
			return err
		}
	}
	for name := range s.sums {
		if _, ok := m.files[name]; !ok && listed(name) {
			return fmt.Errorf("%w: %s is not in backup_manifest", errTar, name)
		}
		if isSegment(name) {
			s.info.WALIncluded = true
		}
	}
	if err := s.info.settle(m.wal); err != nil {
		return err
	}
	return s.describe()
}

func isSegment(name string) bool {
	file, found := strings.CutPrefix(name, "pg_wal/")
	n, err := wal.ParseName(file)
	return found && err == nil && n.Kind == wal.Segment
}

// describe takes what there is to know from the files.
func (s *stream) describe() error {
	word := func(name string) ([]byte, error) {
		if b := s.kept[name]; b != nil {
			return *b, nil
		}
		return nil, fmt.Errorf("%w: it has no %s", errTar, name)
	}
	label, err := word("backup_label")
	if err != nil {
		return err
	}
	if _, err := wal.ParseLabel(label); err != nil {
		return err
	}
	s.info.FromStandby = strings.Contains(string(label), "\nBACKUP FROM: standby")
	version, err := word("PG_VERSION")
	if err != nil {
		return err
	}
	s.info.ServerVersion = strings.TrimSpace(string(version))
	raw, err := word("global/pg_control")
	if err != nil {
		return err
	}
	control, err := wal.ParseControl(raw)
	if err != nil {
		return err
	}
	s.info.System = control.System.Decimal()
	s.info.SegmentSize, err = segmentSize(raw)
	return err
}
