package backups

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Kind is what a file of a backup holds.
type Kind string

// The kinds of files that gpbackup stores, and Other for whatever else lies under
// a timestamp.
const (
	ConfigFile       Kind = "config"
	TOCFile          Kind = "toc"
	MetadataFile     Kind = "metadata"
	StatisticsFile   Kind = "statistics"
	ReportFile       Kind = "report"
	PluginConfigFile Kind = "plugin_config"
	SegmentTOCFile   Kind = "segment_toc"
	TableData        Kind = "table_data"   // one table on one segment
	SegmentData      Kind = "segment_data" // all tables on one segment, --single-data-file
	Other            Kind = "other"
)

// Coordinator is the content id of the coordinator.
const Coordinator = -1

// File is what the name of a file says.
type File struct {
	Kind      Kind
	Content   int    // the segment, or Coordinator
	OID       uint32 // of the table, with TableData
	Extension string // ".gz", ".zst" or "", with TableData and SegmentData
}

// ValidTimestamp reports whether s has the form of a timestamp, which is all that
// gpbackup itself asks of one.
func ValidTimestamp(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) == 14
}

var coordinatorFiles = map[string]Kind{
	"config.yaml":        ConfigFile,
	"toc.yaml":           TOCFile,
	"metadata.sql":       MetadataFile,
	"statistics.sql":     StatisticsFile,
	"report":             ReportFile,
	"plugin_config.yaml": PluginConfigFile,
}

var segmentFile = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^gpbackup_([0-9]{1,6})_([0-9]{14})(?:_(toc\.yaml)|_([0-9]{1,10}))?(\.gz|\.zst)?$`)
})

// ParseFile reads a file's base name. What gpbackup would not have written for
// this timestamp is Other.
func ParseFile(timestamp, name string) File {
	other := File{Kind: Other, Content: Coordinator}
	if rest, ok := strings.CutPrefix(name, "gpbackup_"+timestamp+"_"); ok {
		if kind, ok := coordinatorFiles[rest]; ok {
			return File{Kind: kind, Content: Coordinator}
		}
		return other
	}
	m := segmentFile().FindStringSubmatch(name)
	if m == nil || m[2] != timestamp {
		return other
	}
	content, err := strconv.Atoi(m[1])
	if err != nil || strconv.Itoa(content) != m[1] {
		return other
	}
	f := File{Content: content, Extension: m[5]}
	switch {
	case m[3] != "" && m[5] != "":
		return other
	case m[3] != "":
		f.Kind = SegmentTOCFile
	case m[4] != "":
		oid, err := strconv.ParseUint(m[4], 10, 32)
		if err != nil || strconv.FormatUint(oid, 10) != m[4] {
			return other
		}
		f.Kind, f.OID = TableData, uint32(oid)
	default:
		f.Kind = SegmentData
	}
	return f
}

// Name is the base name of the file, the reverse of ParseFile.
func (f File) Name(timestamp string) string {
	switch f.Kind {
	case SegmentTOCFile:
		return fmt.Sprintf("gpbackup_%d_%s_toc.yaml", f.Content, timestamp)
	case TableData:
		return fmt.Sprintf("gpbackup_%d_%s_%d%s", f.Content, timestamp, f.OID, f.Extension)
	case SegmentData:
		return fmt.Sprintf("gpbackup_%d_%s%s", f.Content, timestamp, f.Extension)
	}
	for tail, kind := range coordinatorFiles {
		if kind == f.Kind {
			return "gpbackup_" + timestamp + "_" + tail
		}
	}
	return ""
}

func coordinatorFile(timestamp string, k Kind) string {
	return File{Kind: k, Content: Coordinator}.Name(timestamp)
}
