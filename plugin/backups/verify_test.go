package backups

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

func (w *world) verify(ts string, o VerifyOptions) *VerifyReport {
	w.t.Helper()
	rep, err := Verify(context.Background(), w.r, testNamespace, ts, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

// problems are "timestamp/stream kind".
func problems(list []Problem) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Timestamp[6:8]+"/"+strings.ReplaceAll(p.Stream, p.Timestamp, "TS")+" "+string(p.Kind))
	}
	return out
}

func TestVerifyWhole(t *testing.T) {
	for _, b := range []backup{
		{oids: someTables},
		{oids: someTables, ext: ".gz", wrapped: true},
		{oids: someTables, sdf: true},
		{oids: someTables, sdf: true, ext: ".gz"},
		{oids: someTables, sdf: true, ext: ".zst", wrapped: true},
		{metadata: true},
		{sdf: true},
	} {
		w := newWorld(t)
		b.ts = "20240101000000"
		w.store(b)
		var last, total int64
		rep := w.verify(b.ts, VerifyOptions{Progress: func(n, of int64) { last, total = n, of }})
		if !rep.OK || rep.Status != Complete || rep.Streams != len(b.files()) || len(rep.Problems) != 0 {
			t.Errorf("%+v: %+v", b, rep)
		}
		if last != total || uint64(last) != rep.Bytes {
			t.Errorf("progress ended at %d of %d, %d bytes read", last, total, rep.Bytes)
		}
	}
}

// Verify names everything that is wrong, and goes on after it.
func TestVerifyDamage(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240101000000", oids: []int{102, 104, 106}, skip: []string{"gpbackup_1_20240101000000_106"}}
	w.store(b)
	w.corrupt(b.ts, "gpbackup_0_20240101000000_102")
	id := w.manifest(b.ts, "gpbackup_1_20240101000000_104").Table.Packs[0].ID.String()
	if err := w.st.Delete(context.Background(), "packs/"+id[:2]+"/"+id); err != nil {
		t.Fatal(err)
	}
	w.st.Corrupt(streamName(testNamespace, b.ts, "gpbackup_0_20240101000000_106").Key(), mem.FlipBit(999))
	rep := w.verify(b.ts, VerifyOptions{})
	want := []string{"01/gpbackup_0_TS_102 damaged", "01/gpbackup_0_TS_106 damaged", "01/gpbackup_1_TS_104 damaged", "01/gpbackup_1_TS_106 missing"}
	if got := problems(rep.Problems); !slices.Equal(got, want) || rep.OK {
		t.Errorf("problems %q, want %q", got, want)
	}
	if rep.Streams != len(b.files())-4 || rep.Status != Incomplete {
		t.Errorf("%+v", rep)
	}
	for _, p := range rep.Problems {
		if p.Cause == "" {
			t.Errorf("%s: no cause", p.Stream)
		}
	}
}

func TestVerifyChain(t *testing.T) {
	w := newWorld(t)
	base := backup{ts: "20240101000000", oids: []int{102, 104}}
	inc := backup{ts: "20240102000000", oids: []int{102}, plan: []string{base.ts}}
	w.store(base)
	w.store(inc)
	w.corrupt(base.ts, "gpbackup_0_20240101000000_104")
	if rep := w.verify(inc.ts, VerifyOptions{}); !rep.OK || len(rep.Verified) != 1 {
		t.Errorf("by itself: %+v", rep)
	}
	rep := w.verify(inc.ts, VerifyOptions{Chain: true})
	if got := problems(rep.Problems); !slices.Equal(got, []string{"01/gpbackup_0_TS_104 damaged"}) || len(rep.Verified) != 2 {
		t.Errorf("with its base: %+v", rep)
	}
	w.delete(base.ts)
	for _, chain := range []bool{false, true} {
		rep = w.verify(inc.ts, VerifyOptions{Chain: chain})
		if rep.OK || rep.Status != BrokenChain || !slices.Equal(problems(rep.Problems), []string{"01/ status"}) {
			t.Errorf("without its base, chain %t: %+v", chain, rep)
		}
	}
	if _, err := Verify(context.Background(), w.r, testNamespace, base.ts, VerifyOptions{}); !errors.Is(err, repo.ErrDeleted) {
		t.Errorf("deleted: %v", err)
	}
}

func TestVerifyStatus(t *testing.T) {
	w := newWorld(t)
	failed := backup{ts: "20240101000000", oids: someTables, status: "Failure"}
	running := backup{ts: "20240102000000", oids: someTables, skip: []string{"config.yaml"}}
	w.store(failed)
	w.store(running)
	for _, b := range []backup{failed, running} {
		if rep := w.verify(b.ts, VerifyOptions{}); rep.OK || len(rep.Problems) != 1 || rep.Problems[0].Kind != BadStatus || rep.Streams == 0 {
			t.Errorf("%+v", rep)
		}
	}
}

// A helper that was killed leaves a stream that ended cleanly, too early.
func TestVerifySegmentTOC(t *testing.T) {
	const ts = "20240101000000"
	for _, test := range []struct {
		name string
		ext  string
		edit func(f *testFile)
		want []string
	}{
		{"cut short", "", func(f *testFile) {
			if f.name == "gpbackup_1_"+ts {
				f.data = f.data[:len(f.data)-100]
			}
		}, []string{"01/gpbackup_1_TS damaged"}},
		{"cut short, unwrapped", ".gz", func(f *testFile) {
			if f.name == "gpbackup_1_"+ts+".gz" {
				f.data = f.data[:len(f.data)-100]
			}
		}, []string{"01/gpbackup_1_TS.gz damaged"}},
		{"a table is not in it", "", func(f *testFile) {
			if f.name == "gpbackup_0_"+ts+"_toc.yaml" {
				f.data = bytes.Replace(f.data, []byte("  101:"), []byte("  555:"), 1)
			}
		}, []string{"01/gpbackup_0_TS_toc.yaml damaged"}},
		{"malformed", "", func(f *testFile) {
			if f.name == "gpbackup_0_"+ts+"_toc.yaml" {
				f.data = []byte("dataentries: 7\n")
			}
		}, []string{"01/gpbackup_0_TS_toc.yaml damaged"}},
	} {
		w := newWorld(t)
		b := backup{ts: ts, oids: someTables, sdf: true, ext: test.ext, wrapped: true}
		for _, f := range b.files() {
			test.edit(&f)
			o := repo.WriteOptions{}
			if strings.HasSuffix(f.name, ".gz") {
				o.Wrapping = wrapped(manifest.Gzip)
			}
			w.put(ts, f.name, f.data, o)
		}
		if got := problems(w.verify(ts, VerifyOptions{}).Problems); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestVerifyStorageFails(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240101000000", oids: someTables}
	w.store(b)
	away := errors.New("connection reset")
	w.st.SetHook(func(op, key string) (f mem.Fault) {
		if op == "read" {
			f.Before = &storage.Error{Op: op, Key: key, Err: away}
		}
		return f
	})
	if _, err := Verify(context.Background(), w.r, testNamespace, b.ts, VerifyOptions{}); !errors.Is(err, away) || errors.Is(err, repo.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

func TestGet(t *testing.T) {
	w := newWorld(t)
	b := backup{ts: "20240101000000", oids: someTables, ext: ".zst", wrapped: true}
	w.store(b)
	for _, f := range b.files() {
		var out bytes.Buffer
		if err := Get(context.Background(), w.r, testNamespace, b.ts, f.name, &out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(unpack(t, f.name, out.Bytes()), f.data) {
			t.Errorf("%s differs", f.name)
		}
		if strings.HasSuffix(f.name, ".zst") && bytes.Equal(out.Bytes(), f.data) {
			t.Errorf("%s is not compressed", f.name)
		}
	}
	if err := Get(context.Background(), w.r, testNamespace, b.ts, "nosuch", &bytes.Buffer{}); !errors.Is(err, repo.ErrNoStream) {
		t.Errorf("unknown stream: %v", err)
	}
	w.corrupt(b.ts, "gpbackup_0_20240101000000_102.zst")
	if err := Get(context.Background(), w.r, testNamespace, b.ts, "gpbackup_0_20240101000000_102.zst", &bytes.Buffer{}); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("damaged stream: %v", err)
	}
}

func (w *world) manifest(ts, name string) *manifest.Manifest {
	w.t.Helper()
	m, err := w.r.Stream(context.Background(), streamName(testNamespace, ts, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}
