package main

import (
	"fmt"
	"strconv"
	"strings"
)

// The files that gpbackup writes on the coordinator, in the shape that its YAML library gives them: lower-case names,
// sequences not indented, strings quoted where they would read as something else.

// metadataSQL is gpbackup_<ts>_metadata.sql, and where in it each table's statement is.
func metadataSQL(tables []table) (text string, spans [][2]int) {
	var b strings.Builder
	b.WriteString("SET client_encoding = 'UTF8';\n")
	for _, t := range tables {
		start := b.Len()
		fmt.Fprintf(&b, "\n\nCREATE TABLE public.%s (\n", t.name)
		columns := strings.Split(strings.Trim(t.columns, "()"), ",")
		for i, column := range columns {
			fmt.Fprintf(&b, "\t%s text", column)
			if i < len(columns)-1 {
				b.WriteByte(',')
			}
			b.WriteByte('\n')
		}
		if t.replicated {
			b.WriteString(") DISTRIBUTED REPLICATED;\n")
		} else {
			b.WriteString(") DISTRIBUTED BY (id);\n")
		}
		spans = append(spans, [2]int{start, b.Len()})
	}
	return b.String(), spans
}

// tocYAML is gpbackup_<ts>_toc.yaml.
func tocYAML(db *database, spans [][2]int) string {
	var b strings.Builder
	b.WriteString("globalentries: []\npredataentries:\n")
	for i, t := range db.tables {
		fmt.Fprintf(&b, "- schema: public\n  name: %s\n  objecttype: TABLE\n  referenceobject: \"\"\n", t.name)
		fmt.Fprintf(&b, "  startbyte: %d\n  endbyte: %d\n  tier:\n  - 0\n  - %d\n", spans[i][0], spans[i][1], i+1)
	}
	b.WriteString("postdataentries: []\nstatisticsentries: []\ndataentries:\n")
	for i, t := range db.tables {
		fmt.Fprintf(&b, "- schema: public\n  name: %s\n  oid: %d\n  attributestring: %s\n", t.name, t.oid, t.columns)
		fmt.Fprintf(&b, "  rowscopied: %d\n  partitionroot: \"\"\n  isreplicated: %t\n  distbyenum: false\n", db.rows(i), t.replicated)
	}
	b.WriteString("incrementalmetadata:\n  ao: {}\n")
	return b.String()
}

// configYAML is gpbackup_<ts>_config.yaml, which makes the backup count as complete.
func configYAML(db *database, exe, version, ts string, gzip bool) string {
	compression := `""`
	if gzip {
		compression = "gzip"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "backupdir: \"\"\nbackupversion: 1.30.5\ncompressed: %t\ncompressiontype: %s\n", gzip, compression)
	fmt.Fprintf(&b, "databasename: demo\ndatabaseversion: 6.25.3 build demo\nsegmentcount: %d\n", len(db.segments))
	b.WriteString("dataonly: false\ndatedeleted: \"\"\n")
	for _, which := range []string{"exclude", "include"} {
		fmt.Fprintf(&b, "%[1]srelations: []\n%[1]sschemafiltered: false\n%[1]sschemas: []\n%[1]stablefiltered: false\n", which)
	}
	b.WriteString("incremental: false\nleafpartitiondata: false\nmetadataonly: false\n")
	fmt.Fprintf(&b, "plugin: %s\npluginversion: %s\nrestoreplan:\n- timestamp: %q\n  tablefqns:\n", exe, scalar(version), ts)
	for _, t := range db.tables {
		fmt.Fprintf(&b, "  - public.%s\n", t.name)
	}
	fmt.Fprintf(&b, "singledatafile: false\ntimestamp: %q\nendtime: %q\nwithoutglobals: false\nwithstatistics: false\n", ts, ts)
	b.WriteString("status: Success\n")
	return b.String()
}

// pluginYAML is the configuration that gpbackup copies to every host: all values are strings, two are its own.
func pluginYAML(exe, version string, options map[string]string) string {
	all := map[string]string{"pgport": "6000", "backup_plugin_version": version}
	for name, value := range options {
		all[name] = value
	}
	var b strings.Builder
	fmt.Fprintf(&b, "executablepath: %s\noptions:\n", exe)
	for _, name := range sorted(all) {
		fmt.Fprintf(&b, "  %s: %s\n", name, scalar(all[name]))
	}
	return b.String()
}

// reportText is gpbackup_<ts>_report, for people.
func reportText(ts string, streams int, size int64) string {
	return fmt.Sprintf("Greenplum Database Backup Report\n\ntimestamp key:         %s\nbackup status:         Success\n"+
		"streams:               %d\nbytes:                 %d\n", ts, streams, size)
}

// scalar quotes a string that would not read as one.
func scalar(s string) string {
	if _, err := strconv.ParseFloat(s, 64); err == nil || s == "" {
		return strconv.Quote(s)
	}
	return s
}
