package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

const walEpoch = "62a4c8e5f0010203"

func segmentKey(file string) string {
	return "wal/default/0/" + walEpoch + "/0000000100000000/" + file
}

// putWAL stores a file as docs/format.md says that a WAL object is.
func putWAL(t *testing.T, r *Repo, key string, data []byte) {
	t.Helper()
	const size = 1 << 20
	le := binary.LittleEndian
	meta := make([]byte, 4032)
	meta[0] = 1
	le.PutUint32(meta[8:], 1)
	le.PutUint64(meta[40:], uint64(len(data)))
	hash := digest.Sum(data)
	copy(meta[48:], hash[:])
	le.PutUint32(meta[80:], size)
	s, err := r.keys.NewObject(seal.WAL)
	if err != nil {
		t.Fatal(err)
	}
	var boxes []byte
	n := 0
	for piece := range slices.Chunk(data, size) {
		payload, encoding := r.enc.Encode([]byte{0}, piece)
		payload[0] = byte(encoding)
		before := len(boxes)
		boxes = s.Seal(boxes, uint64(n)+1, []byte(key), payload)
		le.PutUint32(meta[88+4*n:], uint32(len(boxes)-before))
		n++
	}
	le.PutUint32(meta[84:], uint32(n))
	copy(meta[88+4*n:], `{"host":"pg1"}`)
	le.PutUint16(meta[6:], 14)
	object := s.Seal(s.Header[:], 0, []byte(key), meta)
	object = append(object, boxes...)
	if r.keys.Encrypted() {
		full := len(object) + seal.Overhead
		object = s.Seal(object, seal.PaddingOrdinal, []byte(key), make([]byte, seal.Padme(full)-full))
	}
	if err := r.st.Put(context.Background(), key, object); err != nil {
		t.Fatal(err)
	}
}

// getWAL reads a WAL object as docs/format.md says, all of it.
func getWAL(t *testing.T, r *Repo, key string) (meta, data []byte) {
	t.Helper()
	object, err := r.st.Get(ctx, key, -1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.keys.OpenObject(seal.WAL, object)
	if err == nil {
		meta, err = s.Open(nil, 0, []byte(key), object[48:4096])
	}
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	at, left := 4096, int(le.Uint64(meta[40:]))
	for i := range int(le.Uint32(meta[84:])) {
		n := int(le.Uint32(meta[88+4*i:]))
		piece, err := s.Open(nil, uint64(i)+1, []byte(key), object[at:at+n])
		if err != nil {
			t.Fatal(err)
		}
		raw := min(left, int(le.Uint32(meta[80:])))
		if data, err = r.dec.Decode(data, piece[1:], index.Encoding(piece[0]), raw); err != nil {
			t.Fatal(err)
		}
		at, left = at+n, left-raw
	}
	if r.keys.Encrypted() {
		padding, err := s.Open(nil, seal.PaddingOrdinal, []byte(key), object[at:])
		if err != nil || len(bytes.Trim(padding, "\x00")) != 0 || seal.Padme(len(object)) != len(object) {
			t.Errorf("%s: padding: %v", key, err)
		}
	} else if at != len(object) {
		t.Errorf("%s: %d bytes behind the last piece", key, len(object)-at)
	}
	return meta, data
}

// TestCopyWAL: WAL files arrive, sealed anew, once; what is damaged or another file is
// named, and all else arrives.
func TestCopyWAL(t *testing.T) {
	for _, keys := range [][2]Secret{{{}, {}}, {newKey(t), newKey(t)}, {{}, newKey(t)}, {newKey(t), {}}} {
		a, b := mem.New(), mem.New()
		from := newTestRepo(t, a, keys[0], Options{})
		to := newTestRepo(t, b, keys[1], Options{})
		content := map[string][]byte{
			segmentKey("000000010000000000000001"):                     randomText(1, 2<<20),
			segmentKey("000000010000000000000002"):                     bytes.Repeat([]byte{0}, 1<<20),
			segmentKey("000000010000000000000003.partial"):             randomText(2, 1<<20+5),
			"wal/default/0/" + walEpoch + "/00000002/00000002.history": []byte("1\t0/1\tbefore\n"),
			"wal/web/-1/" + walEpoch + "/00000002/00000002.history":    nil,
			"wal/default/0/" + walEpoch + "/00000001/000000010.backup": randomText(3, 300),
			"wal/default/0/0000000000000001/00000003/00000003.history": []byte("older epoch"),
		}
		for key, data := range content {
			putWAL(t, from, key, data)
		}
		point := "wal/default/restorepoints/before"
		object, err := from.keys.SealDocument(seal.Kind('N'), point, []byte(`{"name":"before"}`), nil)
		if err == nil {
			err = a.Put(ctx, point, object)
		}
		if err == nil {
			err = a.Put(ctx, "wal/default/0/"+walEpoch+"/standbys/s1/000000010000000000000002", []byte("a mark"))
		}
		if err != nil {
			t.Fatal(err)
		}
		dry := mustCopy(t, from, to, CopyOptions{DryRun: true})
		report := mustCopy(t, from, to, CopyOptions{})
		if report.WALFiles != len(content)+1 || report.WALAlready != 0 || report.WALBytes == 0 || dry.WALFiles != report.WALFiles {
			t.Errorf("%+v", report)
		}
		for key, data := range content {
			was, _ := getWAL(t, from, key)
			meta, got := getWAL(t, to, key)
			if !bytes.Equal(got, data) || !bytes.Equal(was, meta) {
				t.Errorf("%s: %d of %d bytes", key, len(got), len(data))
			}
		}
		if got, err := describeDocument(ctx, to, point); err != nil || string(got) != `{"name":"before"}` {
			t.Errorf("restore point: %q, %v", got, err)
		}
		if len(b.Keys()) != len(content)+1+2 { // config, key slot
			t.Errorf("copied: %q", b.Keys())
		}
		report = mustCopy(t, from, to, CopyOptions{})
		if report.WALFiles != 0 || report.WALAlready != len(content)+1 {
			t.Errorf("again: %+v", report)
		}

		// Another file of that name; a damaged one; and one more.
		putWAL(t, to, segmentKey("000000010000000000000004"), []byte("x"))
		putWAL(t, from, segmentKey("000000010000000000000004"), []byte("y"))
		putWAL(t, from, segmentKey("000000010000000000000005"), []byte("to be damaged"))
		putWAL(t, from, segmentKey("000000010000000000000006"), []byte("good"))
		a.Corrupt(segmentKey("000000010000000000000005"), mem.FlipBit(8*4097))
		report, err = Copy(ctx, from, to, CopyOptions{})
		if !errors.Is(err, ErrConflict) || !errors.Is(err, ErrDamaged) || report.WALFiles != 1 || len(report.Problems) != 2 ||
			!strings.HasSuffix(report.Problems[0].Object, "4") || !strings.HasSuffix(report.Problems[1].Object, "5") {
			t.Errorf("%v, %+v", err, report)
		}
		if _, err := b.Stat(ctx, segmentKey("000000010000000000000005")); !errors.Is(err, storage.ErrNotExist) {
			t.Errorf("what is damaged was copied: %v", err)
		}
	}
}

// TestCopyWALOfAnotherCluster: two clusters that share a namespace notice.
func TestCopyWALOfAnotherCluster(t *testing.T) {
	from, to := newTestRepo(t, mem.New(), Secret{}, Options{}), newTestRepo(t, mem.New(), Secret{}, Options{})
	putWAL(t, from, segmentKey("000000010000000000000001"), []byte("ours"))
	putWAL(t, to, "wal/default/0/00000000000000ff/0000000100000000/000000010000000000000001", []byte("theirs"))
	report, err := Copy(ctx, from, to, CopyOptions{})
	if !errors.Is(err, ErrConflict) || report.WALFiles != 0 || len(report.Problems) != 1 || report.Problems[0].Object != "wal/default/0/"+walEpoch {
		t.Errorf("%v, %+v", err, report)
	}
}

// FuzzResealWAL: whatever somebody with the key has sealed as metadata, what comes out of
// it opens, or it is damaged or newer.
func FuzzResealWAL(f *testing.F) {
	from, to := newTestRepo(f, mem.New(), Secret{}, Options{}), newTestRepo(f, mem.New(), Secret{Password: "x"}, Options{})
	key := segmentKey("000000010000000000000001")
	good := make([]byte, 200)
	good[0] = 1
	hash := digest.Sum([]byte("a file"))
	copy(good[48:], hash[:])
	le := binary.LittleEndian
	le.PutUint64(good[40:], 6)
	le.PutUint32(good[80:], 1<<20)
	le.PutUint32(good[84:], 1)
	le.PutUint32(good[88:], 7+seal.Overhead)
	f.Add(good, []byte("\x00a file"))
	f.Add([]byte{2}, []byte{})
	f.Add([]byte{1, 0, 1}, []byte("x"))
	f.Fuzz(func(t *testing.T, meta, piece []byte) {
		s, err := from.keys.NewObject(seal.WAL)
		if err != nil {
			t.Fatal(err)
		}
		plain := make([]byte, 4032)
		copy(plain, meta)
		object := s.Seal(s.Header[:], 0, []byte(key), plain)
		object = s.Seal(object, 1, []byte(key), piece)
		out, err := resealWAL(from, to, key, object)
		if err != nil {
			if !isUnusable(err) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if _, got, err := to.openWALMeta(key, out); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("what was sealed does not open: %v", err)
		}
	})
}
