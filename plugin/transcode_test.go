package plugin

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// packed runs a compressor as gpbackup does.
func packed(t *testing.T, data []byte, command ...string) []byte {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(command, err)
	}
	return out
}

// TestTranscode: compressed tables come back with the same content, and cost what the
// tables cost.
func TestTranscode(t *testing.T) {
	table := rows(1, 4<<20)
	next := slices.Concat([]byte("0,a new row\n"), table[:3<<20], rows(2, 3000), table[3<<20:])
	const tomorrow = "20261122220000"
	cost := map[string]uint64{}
	w := newWorld(t)
	w.must(os.Rename(w.repository, w.dir+"/empty"))
	for ext, programs := range map[string][2][]string{
		"":     {{"cat"}, {"cat"}},
		".gz":  {{"gzip", "-c", "-1"}, {"gzip", "-d", "-c"}},
		".zst": {{"zstd", "--compress", "-3", "-c"}, {"zstd", "-d", "-c"}},
	} {
		// Copies of one repository: where chunks end depends on its key.
		w.repository = w.dir + "/repository" + ext
		w.cache = w.dir + "/cache" + ext
		w.must(os.CopyFS(w.repository, os.DirFS(w.dir+"/empty")))
		w.configure("cache_dir: " + w.cache)
		for _, timestamp := range []string{ts, tomorrow} {
			data := map[string][]byte{ts: table, tomorrow: next}[timestamp]
			key := w.backupDir(timestamp) + "/gpbackup_0_" + timestamp + "_1" + ext
			w.good(packed(t, data, programs[0]...), "backup_data", w.config, key)
			out := w.good(nil, "restore_data", w.config, key)
			if got := packed(t, []byte(out), programs[1]...); !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes came back as %d", key, len(data), len(got))
			}
		}
		m, err := w.open().Stream(t.Context(), mustName(t, w.backupDir(tomorrow)+"/gpbackup_0_"+tomorrow+"_1"+ext))
		w.must(err)
		if m.Length != uint64(len(next)) || m.Tail != 0 {
			t.Errorf("%q: length %d, tail %d", ext, m.Length, m.Tail)
		}
		cost[ext] = m.Stats.NewRaw
	}
	if plain := cost[""]; plain == 0 || plain > 1<<20 {
		t.Errorf("the plain table's second day added %d bytes", plain)
	}
	for ext, added := range cost {
		if plain := cost[""]; added > plain+plain/10 {
			t.Errorf("%s adds %d bytes, the plain table %d", ext, added, plain)
		}
	}
}

// TestTranscodeAgain: the same content again is a success, however it was compressed;
// other content is not.
func TestTranscodeAgain(t *testing.T) {
	w := newWorld(t)
	table := rows(1, 1<<20)
	key := w.path("1.gz")
	w.good(packed(t, table, "gzip", "-c", "-1"), "backup_data", w.config, key)
	w.good(packed(t, table, "gzip", "-c", "-9"), "backup_data", w.config, key)
	w.bad(3, packed(t, table[1:], "gzip", "-c", "-1"), "backup_data", w.config, key)
	w.bad(3, slices.Concat(packed(t, table, "gzip", "-c"), make([]byte, 8)), "backup_data", w.config, key)
	w.bad(3, table, "backup_data", w.config, key) // no gzip stream: kept as it is
}

// TestTranscodeOff: streams come back byte for byte.
func TestTranscodeOff(t *testing.T) {
	w := newWorld(t)
	w.configure("transcode: off")
	for tail, stream := range map[string][]byte{
		"1.gz": packed(t, rows(1, 1<<20), "gzip", "-c"), "2.zst": packed(t, rows(2, 1<<20), "zstd", "-c"),
	} {
		w.good(stream, "backup_data", w.config, w.path(tail))
		if got := w.good(nil, "restore_data", w.config, w.path(tail)); got != string(stream) {
			t.Errorf("%s: other bytes come back", tail)
		}
	}
}

// TestStrayBytes: what is no gzip stream, and what lies behind one, is kept exactly.
func TestStrayBytes(t *testing.T) {
	w := newWorld(t)
	whole := packed(t, []byte("a,b\n"), "gzip", "-c")
	for tail, x := range map[string]struct{ in, out []byte }{
		"1.gz":  {[]byte("plain text"), []byte("plain text")},
		"2.zst": {whole, whole},
		"3.gz":  {slices.Concat(whole, whole, []byte("behind")), []byte("behind")},
	} {
		w.good(x.in, "backup_data", w.config, w.path(tail))
		got := w.good(nil, "restore_data", w.config, w.path(tail))
		if !strings.HasSuffix(got, string(x.out)) {
			t.Errorf("%s: %q came back as %q", tail, x.in, got)
		}
	}
	m, err := w.open().Stream(t.Context(), mustName(t, w.path("3.gz")))
	w.must(err)
	if m.Length != 14 || m.Tail != 6 || m.Wrapping != manifest.Gzip {
		t.Errorf("length %d, tail %d, wrapping %d", m.Length, m.Tail, m.Wrapping)
	}
}

// TestFileAsItIs: a file is not taken apart.
func TestFileAsItIs(t *testing.T) {
	w := newWorld(t)
	w.must(os.MkdirAll(w.backupDir(ts), 0o755))
	whole := packed(t, rows(1, 100<<10), "gzip", "-c", "-9")
	path := w.path("1.gz")
	w.must(os.WriteFile(path, whole, 0o600))
	w.good(nil, "backup_file", w.config, path)
	w.must(os.Remove(path))
	w.good(nil, "restore_file", w.config, path)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes of %d, %v", len(got), len(whole), err)
	}
}

// TestCutCompressed: a compressor that was killed must fail the backup, whether its
// stream would be taken apart or not.
func TestCutCompressed(t *testing.T) {
	for _, transcode := range []string{"on", "off"} {
		w := newWorld(t)
		w.configure("transcode: " + transcode)
		for tail, whole := range map[string][]byte{
			"a.gz": packed(t, rows(1, 4<<20), "gzip", "-c", "-1"), "b.zst": packed(t, rows(2, 4<<20), "zstd", "-c"),
		} {
			said := w.bad(1, whole[:len(whole)-3], "backup_data", w.config, w.path(tail))
			if !strings.Contains(said, "cut short") || !strings.Contains(said, "hint: ") {
				t.Errorf("%s: %s", tail, said)
			}
			w.bad(1, nil, "restore_data", w.config, w.path(tail))
			w.good(whole, "backup_data", w.config, w.path(tail))
		}
		w.bad(1, []byte{}, "backup_data", w.config, w.path("void.gz"))
		w.good([]byte{}, "backup_data", w.config, w.path("void.zst"))
		if got := w.good(nil, "restore_data", w.config, w.path("void.zst")); got != "" {
			t.Errorf("nothing came back as %q", got)
		}
		base := "gpbackup_0_" + ts + "_"
		if got := w.stored(ts); !slices.Equal(got, []string{base + "a.gz", base + "b.zst", base + "void.zst"}) {
			t.Errorf("stored %q", got)
		}
	}
}

// TestReaderGoneFromWrapped: gzip -d that stops reading ends restore_data in silence.
func TestReaderGoneFromWrapped(t *testing.T) {
	w := newWorld(t)
	w.good(packed(t, rows(1, 4<<20), "gzip", "-c", "-1"), "backup_data", w.config, w.path("1.gz"))
	cmd := w.command("restore_data", w.config, w.path("1.gz"))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	_, err = io.ReadFull(out, make([]byte, 1000))
	w.must(err)
	w.must(out.Close())
	_ = cmd.Wait() // its code is looked at
	if code := exitCode(cmd); code != 141 || said.Len() > 0 {
		t.Errorf("exit %d, %q", code, said.String())
	}
}
