package backups

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage/mem"
)

// world is a repository in memory to store backups in.
type world struct {
	t  *testing.T
	st *mem.Store
	r  *repo.Repo
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := context.Background()
	st := mem.New()
	if _, err := repo.Init(ctx, st, repo.InitOptions{ChunkSize: repo.MinChunkSize, Now: time.Unix(1700000000, 0)}); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(ctx, st, "write", repo.Options{Limits: repo.Limits{Inline: 8 << 10}, Concurrency: 2})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, st: st, r: r}
}

// backup is what gpbackup would have done.
type backup struct {
	ts       string
	segments int    // 2
	oids     []int  // of the tables with data in this backup
	ext      string // "", ".gz", ".zst"
	sdf      bool
	wrapped  bool     // the plugin took the compression off
	metadata bool     // --metadata-only
	plan     []string // ancestors
	status   string   // "Success"
	stats    bool
	legacy   bool     // no segmentcount in config.yaml
	skip     []string // files that are not stored
	prefix   string   // of the data directories, "gpseg"
	database string   // "it's: odd"
	filtered bool     // --include-table
}

const testNamespace = "prod"

// rows is a table's data on a segment: too much to be inline, if the oid is even,
// and nothing at all if it ends with 9.
func rows(ts string, content, oid int) []byte {
	if oid%10 == 9 {
		return nil
	}
	n := 300
	if oid%2 == 0 {
		n = 60_000
	}
	rng := rand.New(rand.NewPCG(uint64(oid), uint64(content)<<8+uint64(len(ts))))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%d,%x,%s\n", rng.Uint32(), rng.Uint64(), ts)
	}
	return []byte(b.String())
}

func pack(t *testing.T, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b, zstd.WithZeroFrames(true))
	default:
		return data
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpack(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var r io.Reader
	var err error
	switch {
	case strings.HasSuffix(name, ".gz"):
		r, err = gzip.NewReader(bytes.NewReader(data))
	case strings.HasSuffix(name, ".zst"):
		r, err = zstd.NewReader(bytes.NewReader(data))
	default:
		return data
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// testFile is a file that gpbackup hands to the plugin.
type testFile struct {
	name    string
	content int
	data    []byte // uncompressed
}

func (b backup) files() []testFile {
	b.segments = cmp.Or(b.segments, 2)
	var out []testFile
	if !b.metadata {
		for c := range b.segments {
			var all []byte
			toc := "dataentries:\n"
			for _, oid := range b.oids {
				data := rows(b.ts, c, oid)
				toc += fmt.Sprintf("  %d:\n    startbyte: %d\n    endbyte: %d\n", oid, len(all), len(all)+len(data))
				all = append(all, data...)
				if !b.sdf {
					out = append(out, testFile{fmt.Sprintf("gpbackup_%d_%s_%d%s", c, b.ts, oid, b.ext), c, data})
				}
			}
			if b.sdf && len(b.oids) > 0 {
				out = append(out, testFile{fmt.Sprintf("gpbackup_%d_%s%s", c, b.ts, b.ext), c, all},
					testFile{fmt.Sprintf("gpbackup_%d_%s_toc.yaml", c, b.ts), c, []byte(toc)})
			}
		}
	}
	global := func(tail, data string) {
		out = append(out, testFile{"gpbackup_" + b.ts + "_" + tail, -1, []byte(data)})
	}
	global("metadata.sql", "CREATE TABLE public.t ();\n")
	global("toc.yaml", b.toc())
	if b.stats {
		global("statistics.sql", "-- statistics\n")
	}
	global("plugin_config.yaml", "executablepath: /usr/bin/gpdedup\noptions:\n  secret_access_key: hush\n")
	global("config.yaml", b.config("gpdedup", "1.2.3"))
	global("report", "Greenplum Database Backup Report\n")
	return out
}

func (b backup) toc() string {
	var s strings.Builder
	s.WriteString("globalentries: []\npredataentries:\n")
	for _, oid := range b.oids {
		fmt.Fprintf(&s, "- schema: public\n  name: t%d\n  objecttype: TABLE\n  referenceobject: \"\"\n  startbyte: 0\n  endbyte: 9\n  tier:\n  - 0\n  - 1\n", oid)
	}
	s.WriteString("postdataentries: []\nstatisticsentries: []\n")
	if len(b.oids) == 0 {
		s.WriteString("dataentries: []\n")
	} else {
		s.WriteString("dataentries:\n")
	}
	for _, oid := range b.oids {
		fmt.Fprintf(&s, "- schema: public\n  name: t%d\n  oid: %d\n  attributestring: (id,\"dataentries:\")\n  rowscopied: 7\n  partitionroot: \"\"\n  isreplicated: %t\n", oid, oid, oid%3 == 0)
	}
	s.WriteString("incrementalmetadata:\n  ao: {}\n")
	return s.String()
}

func (b backup) config(plugin, version string) string {
	compression := map[string]string{"": `""`, ".gz": "gzip", ".zst": "zstd"}[b.ext]
	var s strings.Builder
	fmt.Fprintf(&s, "backupdir: \"\"\nbackupversion: 1.30.5\ncompressed: %t\ncompressiontype: %s\n", b.ext != "", compression)
	fmt.Fprintf(&s, "databasename: '%s'\ndatabaseversion: 6.25.3 build\n", strings.ReplaceAll(cmp.Or(b.database, "it's: odd"), "'", "''"))
	fmt.Fprintf(&s, "includeschemafiltered: false\nincludetablefiltered: %t\n", b.filtered)
	if !b.legacy {
		fmt.Fprintf(&s, "segmentcount: %d\n", cmp.Or(b.segments, 2))
	}
	fmt.Fprintf(&s, "dataonly: false\nexcluderelations: []\nincluderelations:\n- public.plugin\nincremental: %t\nmetadataonly: %t\n", len(b.plan) > 0, b.metadata)
	fmt.Fprintf(&s, "plugin: %s\npluginversion: %s\n", cmp.Or(plugin, `""`), cmp.Or(version, `""`))
	if b.metadata {
		s.WriteString("restoreplan: []\n")
	} else {
		s.WriteString("restoreplan:\n")
		for _, ts := range b.plan {
			fmt.Fprintf(&s, "- timestamp: %q\n  tablefqns: []\n", ts)
		}
		fmt.Fprintf(&s, "- timestamp: %q\n  tablefqns:\n", b.ts)
		for _, oid := range b.oids {
			fmt.Fprintf(&s, "  - public.t%d\n  - public.\"%s\n    continued\"\n", oid, strings.Repeat("long ", 20))
		}
	}
	fmt.Fprintf(&s, "singledatafile: %t\ntimestamp: %q\nendtime: \"\"\nwithoutglobals: false\nwithstatistics: %t\nstatus: %s\n", b.sdf, b.ts, b.stats, cmp.Or(b.status, "Success"))
	return s.String()
}

// store hands the files to the repository as the plugin does.
func (w *world) store(b backup) {
	w.t.Helper()
	prefix := cmp.Or(b.prefix, "gpseg")
	for _, f := range b.files() {
		if contains(b.skip, f.name) {
			continue
		}
		data, wrapping := f.data, manifest.Plain
		ext := f.name[len(strings.TrimRight(f.name, "gzst")):]
		if ext = "." + ext; ext == ".gz" || ext == ".zst" {
			if b.wrapped {
				wrapping = map[string]manifest.Wrapping{".gz": manifest.Gzip, ".zst": manifest.Zstd}[ext]
			} else {
				data = pack(w.t, ext, data)
			}
		}
		w.put(b.ts, f.name, data, repo.WriteOptions{Wrapping: wrapped(wrapping), Origin: manifest.Origin{
			Host: fmt.Sprintf("sdw%d", f.content+1), Time: time.Unix(1700000000+int64(f.content), 0).UTC(),
			Path: fmt.Sprintf("/data/%s%d/backups/%s/%s/%s", prefix, f.content, b.ts[:8], b.ts, f.name),
		}})
	}
}

// wrapped is the option of a stream that has lost its wrapping on the way in.
func wrapped(as manifest.Wrapping) func() (manifest.Wrapping, uint64) {
	return func() (manifest.Wrapping, uint64) { return as, 0 }
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n != "" && strings.Contains(name, n) {
			return true
		}
	}
	return false
}

func (w *world) put(ts, name string, data []byte, o repo.WriteOptions) {
	w.t.Helper()
	if _, err := w.r.Write(context.Background(), streamName(testNamespace, ts, name), bytes.NewReader(data), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(ts string) {
	w.t.Helper()
	if err := w.r.Delete(context.Background(), repo.Name{Class: repo.Backup, Namespace: testNamespace, Group: ts}); err != nil {
		w.t.Fatal(err)
	}
}

// corrupt changes a byte of the data of a stream that is not inline.
func (w *world) corrupt(ts, name string) {
	w.t.Helper()
	m, err := w.r.Stream(context.Background(), streamName(testNamespace, ts, name))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(m.Table.Packs) == 0 {
		w.t.Fatalf("%s is inline", name)
	}
	id := m.Table.Packs[len(m.Table.Packs)-1].ID.String()
	w.st.Corrupt("packs/"+id[:2]+"/"+id, func(b []byte) []byte {
		b[len(b)/2] ^= 0x55
		return b
	})
}

func (w *world) list(o ListOptions) []Summary {
	w.t.Helper()
	out, err := List(context.Background(), w.r, testNamespace, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) show(ts string) *Detail {
	w.t.Helper()
	d, err := Show(context.Background(), w.r, testNamespace, ts)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}
