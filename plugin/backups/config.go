package backups

import (
	"bytes"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// Config is what this package needs to know of a config.yaml. gpbackup writes it
// at the very end, also of a backup that failed (DoTeardown).
//
// Its endtime is no use: gpbackup stores the file before it sets that field.
type Config struct {
	BackupVersion   string `yaml:"backupversion"`
	Compressed      bool   `yaml:"compressed"`
	CompressionType string `yaml:"compressiontype"`
	DatabaseName    string `yaml:"databasename"`
	DatabaseVersion string `yaml:"databaseversion"`
	SegmentCount    int    `yaml:"segmentcount"` // 0: from before gpbackup 1.26
	DataOnly        bool   `yaml:"dataonly"`

	// Which of them is true says by what tables were chosen.
	IncludeSchemaFiltered bool `yaml:"includeschemafiltered"`
	IncludeTableFiltered  bool `yaml:"includetablefiltered"`
	ExcludeSchemaFiltered bool `yaml:"excludeschemafiltered"`
	ExcludeTableFiltered  bool `yaml:"excludetablefiltered"`

	Incremental    bool   `yaml:"incremental"`
	MetadataOnly   bool   `yaml:"metadataonly"`
	Plugin         string `yaml:"plugin"`
	PluginVersion  string `yaml:"pluginversion"`
	SingleDataFile bool   `yaml:"singledatafile"`
	Timestamp      string `yaml:"timestamp"`
	WithStatistics bool   `yaml:"withstatistics"`
	Status         string `yaml:"status"`

	// Plan lists the backups that a restore of this one reads, the oldest first
	// and this one last. It stays empty with --metadata-only.
	Plan []PlanEntry `yaml:"-"`
}

// PlanEntry is one backup of a restore plan. A backup all of whose tables were
// superseded stays in the plan, and gprestore still reads its toc.yaml.
type PlanEntry struct {
	Timestamp string
	Tables    int // that come from there
}

// What a Config may claim at most. More is not a cluster but an attack.
const (
	maxSegments = 100_000
	maxPlan     = 10_000
)

// configKeys are the top-level keys that Config has fields for.
var configKeys = map[string]bool{
	"backupversion": true, "compressed": true, "compressiontype": true, "databasename": true, "databaseversion": true,
	"segmentcount": true, "dataonly": true, "incremental": true, "metadataonly": true, "plugin": true, "pluginversion": true,
	"singledatafile": true, "timestamp": true, "withstatistics": true, "status": true,
	"includeschemafiltered": true, "includetablefiltered": true, "excludeschemafiltered": true, "excludetablefiltered": true,
}

// ReadConfig reads a config.yaml. An error is the reader's, or ErrMalformed.
func ReadConfig(r io.Reader) (*Config, error) {
	c := &Config{}
	var scalars []byte
	var plan planReader
	err := eachLine(r, func(key string, line []byte) error {
		switch {
		case key == "restoreplan":
			return plan.line(line)
		case configKeys[key]:
			scalars = append(scalars, line...)
			if len(scalars) > maxItem {
				return fmt.Errorf("%w: config.yaml with values of more than %d bytes", ErrMalformed, maxItem)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(scalars, c); err != nil {
		return nil, fmt.Errorf("%w: config.yaml: %w", ErrMalformed, err)
	}
	if c.Plan, err = plan.end(); err != nil {
		return nil, err
	}
	if c.SegmentCount < 0 || c.SegmentCount > maxSegments {
		return nil, fmt.Errorf("%w: config.yaml with segmentcount %d", ErrMalformed, c.SegmentCount)
	}
	return c, nil
}

// Extension is what the names of the data files end with, as gpbackup derives it
// (InitializePipeThroughParameters: no type means gzip).
func (c *Config) Extension() string {
	switch {
	case !c.Compressed:
		return ""
	case c.CompressionType == "zstd":
		return ".zst"
	}
	return ".gz"
}

// Ancestors returns the timestamps of the plan other than own, the oldest first.
func (c *Config) Ancestors(own string) []string {
	var out []string
	for _, e := range c.Plan {
		if e.Timestamp != own {
			out = append(out, e.Timestamp)
		}
	}
	return out
}

// planReader reads a restore plan. Only the names of the tables are many, so they
// are counted, not kept: their lines are those of the only list inside an entry.
type planReader struct {
	head []byte // lines of the entry, without table names
	drop bool   // the last line was a table's name
	n    int    // names dropped
	plan []PlanEntry
}

func (p *planReader) line(line []byte) error {
	switch {
	case bytes.HasPrefix(line, []byte("restoreplan")), bytes.HasPrefix(line, []byte(`"restoreplan`)):
		_, value, _ := bytes.Cut(line, []byte(":"))
		line = bytes.TrimLeft(value, " ")
	case bytes.HasPrefix(line, []byte("-")):
		if err := p.entry(); err != nil {
			return err
		}
	case bytes.HasPrefix(line, []byte("  -")):
		p.drop = true
		p.n++
		return nil
	case p.drop && (bytes.HasPrefix(line, []byte("   ")) || len(bytes.TrimSpace(line)) == 0):
		return nil // a long name goes on
	}
	p.drop = false
	p.head = append(p.head, line...)
	if len(p.head) > maxItem {
		return fmt.Errorf("%w: restore plan with an entry of more than %d bytes", ErrMalformed, maxItem)
	}
	return nil
}

func (p *planReader) entry() error {
	var entries []struct {
		Timestamp string   `yaml:"timestamp"`
		TableFQNs []string `yaml:"tablefqns"`
	}
	if err := yaml.Unmarshal(p.head, &entries); err != nil {
		return fmt.Errorf("%w: restore plan: %w", ErrMalformed, err)
	}
	for _, e := range entries {
		if !ValidTimestamp(e.Timestamp) {
			return fmt.Errorf("%w: restore plan with timestamp %.40q", ErrMalformed, e.Timestamp)
		}
		p.plan = append(p.plan, PlanEntry{e.Timestamp, len(e.TableFQNs) + p.n})
		p.n = 0
	}
	if len(p.plan) > maxPlan {
		return fmt.Errorf("%w: restore plan of more than %d backups", ErrMalformed, maxPlan)
	}
	p.head, p.n = p.head[:0], 0
	return nil
}

func (p *planReader) end() ([]PlanEntry, error) {
	err := p.entry()
	return p.plan, err
}
