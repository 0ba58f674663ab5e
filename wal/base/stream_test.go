package base

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

// whole is an archive as pg_basebackup writes it.
func whole(t testing.TB, more ...file) []byte {
	t.Helper()
	files := backupFiles(more...)
	return tarOf(t, append(slices.Clone(files), file{manifestName, listing(files)}))
}

// TestStream: what goes out is the archive, one member more, and cuts where large members
// begin and end; in whatever pieces it is read.
func TestStream(t *testing.T) {
	big := bytes.Repeat([]byte("page"), 5000)
	in := whole(t, file{"base/", nil}, file{"base/1", big}, file{"base/empty", []byte{}}, file{"base/2", big[:4096]}, file{"base/3", big[:4095]})
	want, breaks, info, err := through(in, 4096, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 100, 513} {
		out, other, _, err := through(in, 4096, n)
		if err != nil || !bytes.Equal(out, want) || !slices.Equal(other, breaks) {
			t.Errorf("read in pieces of %d: %d bytes, breaks %v, %v; want %d, %v", n, len(out), other, err, len(want), breaks)
		}
	}
	if kept := in[:len(in)-endBlocks]; !bytes.HasPrefix(want, kept) {
		t.Error("the members are not what came in")
	}
	r := tar.NewReader(bytes.NewReader(want))
	cuts := map[int64]bool{}
	for _, at := range breaks {
		cuts[at] = true
	}
	var names []string
	for at := int64(0); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		end := at + blockSize + padded(h.Size)
		if large := h.Size >= 4096; large && (at > 0 && !cuts[at] || !cuts[end]) {
			t.Errorf("%s, from %d to %d, is not cut from its own start to its own end: %v", h.Name, at, end, breaks)
		}
		at = end
	}
	if names[len(names)-1] != infoName || info.Start != "0/2000028" || info.Stop != "0/2100000" || info.System != "7123456789012345678" ||
		info.ServerVersion != "15" || info.SegmentSize != 1<<20 || info.Files != 8 {
		t.Errorf("%v: %+v", names, info)
	}
	if m := want[info.Manifest.Offset:][:info.Manifest.Length]; !bytes.HasPrefix(m, []byte(`{ "PostgreSQL-Backup-Manifest`)) {
		t.Errorf("backup_manifest is not at %+v", info.Manifest)
	}
	segments, err := info.Segments()
	if err != nil || len(segments) != 1 || segments[0].String() != "000000010000000000000020" {
		t.Errorf("it needs %v, %v", segments, err)
	}
}

// TestStreamRefuses: what is no whole base backup never ends as one.
func TestStreamRefuses(t *testing.T) {
	good := whole(t, file{"base/1", bytes.Repeat([]byte{7}, 5000)})
	files := backupFiles(file{"base/1", []byte("one")})
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	archive := func(members ...file) []byte { return tarOf(t, members) }
	listed := func(list []file, members ...file) []byte {
		return archive(append(slices.Clone(members), file{manifestName, listing(list)})...)
	}
	for what, in := range map[string][]byte{
		"nothing":               nil,
		"no manifest":           archive(files...),
		"a flipped bit":         flip(bytes.Index(good, []byte{7, 7, 7}) + 100),
		"a flipped header":      flip(3),
		"a flipped manifest":    flip(bytes.LastIndex(good, []byte("Size"))),
		"a file is missing":     listed(files, slices.Concat(files[:2], files[3:])...),
		"a file too many":       listed(slices.Concat(files[:2], files[3:]), files...),
		"a file twice":          listed(files, append(slices.Clone(files), files[2])...),
		"no label":              listed(files[1:], files[1:]...),
		"no control file":       listed(files[:3], files[:3]...),
		"one of our own":        listed(files, append(slices.Clone(files), file{infoName, []byte("{}")})...),
		"something behind":      append(bytes.Clone(good), bytes.Repeat([]byte("x"), 512)...),
		"a path out of it":      listed(files, append(slices.Clone(files), file{"../x", nil})...),
		"a full path":           listed(files, append(slices.Clone(files), file{"/etc/x", nil})...),
		"text":                  []byte(strings.Repeat("text ", 500)),
		"an archive, cut short": good[:len(good)/1024*512],
	} {
		if _, _, _, err := through(in, 4096, 4096); err == nil {
			t.Errorf("%s: taken for a base backup", what)
		}
	}
	for cut := 512; cut < len(good)-endBlocks; cut += 512 {
		if _, _, _, err := through(good[:cut], 4096, 4096); err == nil {
			t.Fatalf("cut after %d of %d bytes: taken for a base backup", cut, len(good))
		}
	}
}

// memory is a place in memory.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (m *memory) dir(header) error { return nil }

func (m *memory) file(h header) (fileWriter, error) { return &memoryFile{m: m, name: h.name}, nil }

type memoryFile struct {
	bytes.Buffer
	m    *memory
	name string
}

func (f *memoryFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.files[f.name] = f.Bytes()
	return nil
}

func (f *memoryFile) Abort() {}

// TestUnpack: the files come out as they went in; and a change of any of them, or of what
// is around them, is found.
func TestUnpack(t *testing.T) {
	files := backupFiles(file{"base/1", bytes.Repeat([]byte("page"), 100_000)}, file{"base/2", []byte{}}, file{"base/3", []byte("three")})
	in := tarOf(t, append(slices.Clone(files), file{manifestName, listing(files)}))
	stream, _, info, err := through(in, 4096, 4096)
	if err != nil {
		t.Fatal(err)
	}
	server, err := parseManifest(stream[info.Manifest.Offset:][:info.Manifest.Length])
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{files: map[string][]byte{}}
	if err := unpack(context.Background(), bytes.NewReader(stream), server, m); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if got, ok := m.files[f.name]; !ok || !bytes.Equal(got, f.content) {
			t.Errorf("%s is not what it was", f.name)
		}
	}
	for at := 0; at < int(info.Manifest.Offset)-blockSize; at += 4999 {
		bad := bytes.Clone(stream)
		bad[at] ^= 4
		err := unpack(context.Background(), bytes.NewReader(bad), server, nowhere{})
		if err == nil && !inPadding(files, at) {
			t.Errorf("a flipped bit at %d is not found", at)
		}
		if err != nil && !errors.Is(err, repo.ErrDamaged) {
			t.Errorf("a flipped bit at %d is no damage: %v", at, err)
		}
	}
	for _, cut := range []int{0, 100, 512, len(stream) / 2, len(stream) - endBlocks - 600} {
		if err := unpack(context.Background(), bytes.NewReader(stream[:cut]), server, nowhere{}); !errors.Is(err, repo.ErrDamaged) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
}

// inPadding reports whether an offset is behind the content of a member.
func inPadding(files []file, offset int) bool {
	at := 0
	for _, f := range files {
		at += blockSize
		if offset >= at+len(f.content) && offset < at+int(padded(int64(len(f.content)))) {
			return true
		}
		at += int(padded(int64(len(f.content))))
	}
	return false
}

// FuzzStream: whatever comes in, nothing but a whole backup ends well, and nothing breaks.
func FuzzStream(f *testing.F) {
	good := whole(f, file{"base/1", []byte("one")})
	f.Add(good)
	f.Add(good[:1024])
	f.Fuzz(func(t *testing.T, in []byte) {
		out, _, info, err := through(in, 4096, 700)
		if err != nil {
			return
		}
		server, err := parseManifest(out[info.Manifest.Offset:][:info.Manifest.Length])
		if err != nil {
			t.Fatalf("stored, and its manifest cannot be read: %v", err)
		}
		if err := unpack(context.Background(), bytes.NewReader(out), server, nowhere{}); err != nil {
			t.Fatalf("stored, and cannot be unpacked: %v", err)
		}
	})
}

// FuzzInfo: a decoder of what is stored.
func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"version":1,"system_identifier":"7","segment_size":1048576,"start":"0/1","stop":"0/2","wal":[{"timeline":1,"start":"0/1","stop":"0/2"}],"manifest":{"offset":1,"length":2}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if i, err := parseInfo(in); err == nil {
			if n, err := i.Segments(); err != nil || len(n) == 0 {
				t.Errorf("%v, %v", n, err)
			}
		} else if !errors.Is(err, repo.ErrDamaged) && !errors.Is(err, repo.ErrNewer) {
			t.Error(err)
		}
	})
}
