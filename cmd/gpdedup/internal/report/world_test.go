package report

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage/mem"
	"github.com/gpdedup/gpdedup/wal"
	"github.com/gpdedup/gpdedup/wal/base"
)

// world is a repository in memory, in a bubble of synctest: its clock is the test's.
type world struct {
	*testing.T
	st *mem.Store
	r  *repo.Repo
}

// newWorld makes an empty repository, one evening in September.
func newWorld(t *testing.T) *world {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 9, 20, 21, 30, 0, 0, time.UTC)))
	w := &world{T: t, st: mem.New()}
	_, err := repo.Init(t.Context(), w.st, repo.InitOptions{ChunkSize: repo.MinChunkSize, Now: time.Now()})
	w.must(err)
	w.r, err = repo.Open(t.Context(), w.st, "write", repo.Options{Concurrency: 2})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) write(name repo.Name, data []byte, previous ...repo.Name) {
	w.Helper()
	_, err := w.r.Write(w.Context(), name, bytes.NewReader(data), repo.WriteOptions{
		Origin: manifest.Origin{Host: "mdw", Time: time.Now().UTC()}, Previous: previous,
	})
	w.must(err)
}

// database is what gpbackup backs up.
type database struct {
	namespace, name string
	tables          []dataTable
	last            string // timestamp
}

type dataTable struct {
	schema, name string
	oid          int
	rows         *tablegen.Table
	kind         tablegen.Kind
	data         []byte // instead of rows
}

func newDatabase(namespace, name string, rows int) *database {
	d := &database{namespace: namespace, name: name}
	for i, t := range []struct {
		name  string
		kind  tablegen.Kind
		share int // percent
	}{{"orders", tablegen.Heap, 45}, {"events", tablegen.AppendOnly, 30}, {"invoices", tablegen.Heap, 15}, {"customers", tablegen.Heap, 6}, {"lookup", tablegen.Small, 4}} {
		d.tables = append(d.tables, dataTable{
			schema: "public", name: t.name, oid: 16384 + 3*i, kind: t.kind,
			rows: tablegen.New(t.kind, uint64(len(name)*100+i), rows*t.share/100),
		})
	}
	return d
}

// backup stores the database as gpbackup does, by its plugin, and returns the timestamp.
func (w *world) backup(d *database, status string, leave ...string) string {
	w.Helper()
	ts := time.Now().UTC().Format("20060102150405")
	put := func(item string, data []byte) {
		if slices.ContainsFunc(leave, func(s string) bool { return strings.Contains(item, s) }) {
			return
		}
		name := repo.Name{Class: repo.Backup, Namespace: d.namespace, Group: ts, Item: item}
		var previous []repo.Name
		if d.last != "" {
			before := name
			before.Group, before.Item = d.last, strings.ReplaceAll(item, ts, d.last)
			previous = append(previous, before)
		}
		w.write(name, data, previous...)
	}
	toc := "globalentries: []\ndataentries:\n"
	for i := range d.tables {
		t := &d.tables[i]
		data := t.data
		if t.rows != nil {
			var b bytes.Buffer
			_, err := t.rows.WriteTo(&b)
			w.must(err)
			t.rows.NextDay(tablegen.Daily(t.kind))
			data = b.Bytes()
		}
		put(fmt.Sprintf("gpbackup_0_%s_%d", ts, t.oid), data)
		toc += fmt.Sprintf("- schema: %q\n  name: %q\n  oid: %d\n  rowscopied: 7\n", t.schema, t.name, t.oid)
	}
	put("gpbackup_"+ts+"_metadata.sql", []byte("-- "+d.name))
	put("gpbackup_"+ts+"_toc.yaml", []byte(toc))
	put("gpbackup_"+ts+"_config.yaml", fmt.Appendf(nil, "databasename: %q\nsegmentcount: 1\nincremental: false\nrestoreplan:\n- timestamp: %q\n  tablefqns: []\ntimestamp: %q\nstatus: %s\n", d.name, ts, ts, status))
	d.last = ts
	return ts
}

func (w *world) delete(namespace, ts string) {
	w.Helper()
	w.must(w.r.Delete(w.Context(), repo.Name{Class: repo.Backup, Namespace: namespace, Group: ts}))
}

// stream stores a version of a named stream.
func (w *world) stream(name string, data []byte) {
	w.Helper()
	w.write(repo.Name{Class: repo.Named, Namespace: "default", Group: name, Item: time.Now().UTC().Format("20060102T150405Z") + "-aa"}, data)
}

const (
	testSystem  = 7123456789012345678
	segmentSize = 1 << 20
)

// cluster is a PostgreSQL that archives its WAL.
type cluster struct {
	archive *wal.Archive
	packer  *wal.Packer
	segment uint64
}

func (w *world) newCluster(namespace string) *cluster {
	w.Helper()
	a, err := wal.Open(w.r, namespace, wal.DefaultContent)
	w.must(err)
	p, err := wal.NewPacker(compress.Fastest, 2, "test")
	w.must(err)
	return &cluster{a, p, 32}
}

// push archives the next segment.
func (w *world) push(c *cluster) {
	w.Helper()
	name := wal.SegmentName(1, c.segment, segmentSize)
	data := make([]byte, segmentSize)
	rng := rand.New(rand.NewPCG(7, c.segment))
	for i := wal.PageHeaderSize; i < 4096+int(c.segment%5)*8192; i++ {
		data[i] = byte(rng.Uint32())
	}
	le := binary.LittleEndian
	for at := 0; at < len(data); at += 8192 {
		le.PutUint32(data[at:], 0xD110)
		le.PutUint32(data[at+4:], 1)
		le.PutUint64(data[at+8:], c.segment*segmentSize+uint64(at))
	}
	le.PutUint16(data[2:], 2) // a long header
	le.PutUint64(data[24:], testSystem)
	le.PutUint32(data[32:], segmentSize)
	le.PutUint32(data[36:], 8192)
	p, err := c.packer.Pack(w.Context(), wal.Source{Name: name, Path: "pg_wal/" + name.String(), System: testSystem}, bytes.NewReader(data), segmentSize)
	w.must(err)
	_, err = c.archive.Put(w.Context(), testSystem, p)
	w.must(err)
	c.segment++
}

// base takes a base backup.
func (w *world) base(c *cluster, label string) {
	w.Helper()
	first := c.segment
	w.push(c)
	at := func(offset uint64) string {
		lsn := first*segmentSize + offset
		return fmt.Sprintf("%X/%X", lsn>>32, uint32(lsn))
	}
	type file struct {
		name string
		data []byte
	}
	control := make([]byte, 8192)
	le := binary.LittleEndian
	le.PutUint64(control, testSystem)
	le.PutUint32(control[8:], 1300)
	le.PutUint64(control[200:], math.Float64bits(1234567.0))
	le.PutUint32(control[220:], segmentSize)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	le.PutUint32(control[288:], crc32.Checksum(control[:288], castagnoli))
	files := []file{
		{"backup_label", fmt.Appendf(nil, "START WAL LOCATION: %s (file %s)\nCHECKPOINT LOCATION: %s\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n"+
			"START TIME: 2026-11-22 01:00:00 UTC\nLABEL: test\nSTART TIMELINE: 1\n", at(40), wal.SegmentName(1, first, segmentSize), at(96))},
		{"PG_VERSION", []byte("15\n")},
		{"base/1/1", bytes.Repeat([]byte("a table "), 20_000)},
		{"global/pg_control", control},
	}
	var list bytes.Buffer
	list.WriteString("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n")
	for i, f := range files {
		sum := le.AppendUint32(nil, crc32.Checksum(f.data, castagnoli))
		if i > 0 {
			list.WriteString(",\n")
		}
		fmt.Fprintf(&list, "{ \"Path\": %q, \"Size\": %d, \"Last-Modified\": \"2026-11-22 01:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"%s\" }", f.name, len(f.data), hex.EncodeToString(sum))
	}
	fmt.Fprintf(&list, "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": %q, \"End-LSN\": %q }\n],\n", at(40), at(512))
	sum := sha256.Sum256(list.Bytes())
	fmt.Fprintf(&list, "\"Manifest-Checksum\": \"%s\"}\n", hex.EncodeToString(sum[:]))
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, f := range append(files, file{"backup_manifest", list.Bytes()}) {
		w.must(out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: time.Unix(1, 0), Format: tar.FormatUSTAR}))
		_, err := out.Write(f.data)
		w.must(err)
	}
	w.must(out.Close())
	_, err := base.Push(w.Context(), w.r, c.archive, base.PushOptions{
		Label: label, Source: base.Archive(&archive), Started: time.Now(), MeanChunk: w.r.MeanChunk(), WALTimeout: time.Minute,
		Origin: manifest.Origin{Host: "pg1", Command: "base push", Time: time.Now().UTC()},
	})
	w.must(err)
}

// live lets days pass, with everything that a repository sees.
func (w *world) live(days int, databases ...*database) {
	w.Helper()
	c := w.newCluster("main")
	notes := []byte(strings.Repeat("to be done: nothing much\n", 200))
	for day := range days {
		if day%7 == 0 {
			w.base(c, fmt.Sprintf("week%d", day/7))
		}
		for i, d := range databases {
			switch {
			case i == 0 || day >= 10*i: // the others come later
				status := "Success"
				if day == 17 && i == 1 {
					status = "Failure"
				}
				w.backup(d, status)
			}
			time.Sleep(20 * time.Minute)
		}
		for range 2 + day%7 {
			w.push(c)
			time.Sleep(30 * time.Minute)
		}
		if day%3 == 0 {
			notes = fmt.Appendf(notes, "day %d\n", day)
			w.stream("etc", notes)
		}
		if day%5 == 4 {
			_, err := w.r.Check(w.Context(), repo.CheckOptions{Level: repo.CheckData, Choose: repo.PackChoice{Percent: 25}, Record: true})
			w.must(err)
		}
		next := time.Now().UTC().Truncate(24 * time.Hour).Add(45*time.Hour + 30*time.Minute)
		if time.Until(next) > 25*time.Hour {
			next = next.Add(-24 * time.Hour)
		}
		time.Sleep(time.Until(next))
	}
}

func (w *world) collect(o Options) *Report {
	w.Helper()
	if o.Top == 0 {
		o.Top = 25
	}
	o.Now, o.Version = time.Now(), "test"
	r, err := Collect(context.Background(), w.r, o)
	w.must(err)
	return r
}
