package pushtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/wal/pgtest"
)

// stopped returns the WAL directory of a server that wrote some segments and stopped,
// with the segments' names.
func (w *world) stopped(segments int) (*pgtest.Cluster, []string) {
	w.Helper()
	c := host.NewCluster(w, pgtest.Options{Settings: []string{"wal_keep_size = 64MB"}})
	c.Start(w)
	var files []string
	for range segments {
		files = append(files, c.SwitchWAL(w))
	}
	c.Stop(w, "fast")
	return c, files
}

func path(c *pgtest.Cluster, file string) string { return filepath.Join(c.Data, "pg_wal", file) }

// push prepares a push as the archiver does it: in the data directory.
func (w *world) push(c *pgtest.Cluster, file string, more ...string) *exec.Cmd {
	cmd := w.command("wal", "push", "--cluster", "main", filepath.Join("pg_wal", file))
	cmd.Args = append(cmd.Args, more...) // the last of a flag counts
	cmd.Dir = c.Data
	return cmd
}

// TestSameName: the same bytes again are a success, others are refused and change
// nothing, and both are named.
func TestSameName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.stopped(1)
	for range 2 {
		if code, _, said := ends(w.push(c, files[0])); code != "0" || said != "" {
			t.Fatalf("%s: %s", code, said)
		}
	}
	other := c.Copy(t)
	data, err := os.ReadFile(path(other, files[0]))
	w.must(err)
	data[len(data)-1] ^= 1
	w.must(os.WriteFile(path(other, files[0]), data, 0o600))
	code, _, said := ends(w.push(other, files[0]))
	if code != "3" {
		t.Errorf("other bytes: %s", code)
	}
	checkSaid(t, said, "is in the archive already with other content", "stored is ", "refused is ", "path pg_wal/"+files[0])
	w.whole()
	if code, _, _ := ends(w.push(c, files[0])); code != "0" {
		t.Errorf("the first one's again: %s", code)
	}
}

// TestTwoPushers: of several at once who push the same, all succeed; of those who push
// different bytes under one name, those of one kind.
func TestTwoPushers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.stopped(2)
	other := c.Copy(t)
	data, err := os.ReadFile(path(other, files[1]))
	w.must(err)
	data[len(data)-1] ^= 1
	w.must(os.WriteFile(path(other, files[1]), data, 0o600))
	var wg sync.WaitGroup
	codes := make([]string, 12)
	start := func(i int, cmd *exec.Cmd) {
		wg.Go(func() { codes[i], _, _ = ends(cmd) })
	}
	for i := range 4 {
		start(i, w.push(c, files[0]))
		start(4+i, w.push(c, files[1]))
		start(8+i, w.push(other, files[1]))
	}
	wg.Wait()
	all := strings.Join(codes, "")
	if all != "000000003333" && all != "000033330000" {
		t.Errorf("ended with %s", all)
	}
	w.whole()
}

// TestForeign: WAL of another cluster does not get into an archive, but if the user
// says so.
func TestForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, files := w.stopped(1)
	two, others := w.stopped(1)
	if code, _, said := ends(w.push(one, files[0])); code != "0" {
		t.Fatal(said)
	}
	code, _, said := ends(w.push(two, others[0]))
	if code != "3" {
		t.Errorf("another cluster's: %s", code)
	}
	checkSaid(t, said, one.SystemID(t), two.SystemID(t), "--new-epoch")
	// A segment of one cluster in the directory of the other.
	data, err := os.ReadFile(path(two, others[0]))
	w.must(err)
	mixed := one.Copy(t)
	w.must(os.WriteFile(path(mixed, others[0]), data, 0o644)) //nolint:gosec // the server's user must read it
	w.must(host.Give(path(mixed, others[0])))
	code, _, said = ends(w.push(mixed, others[0]))
	if code != "3" {
		t.Errorf("a strange file: %s", code)
	}
	checkSaid(t, said, one.SystemID(t), two.SystemID(t))

	if code, _, said := ends(w.push(two, others[0], "--new-epoch")); code != "0" {
		t.Errorf("--new-epoch: %s", said)
	}
	for _, p := range []struct {
		c    *pgtest.Cluster
		file string
	}{{one, files[0]}, {two, others[0]}} { // from now on both are known
		if code, _, said := ends(w.push(p.c, p.file)); code != "0" {
			t.Errorf("again: %s", said)
		}
	}
	if e := w.list().Archives[0].Epochs; len(e) != 2 {
		t.Errorf("%+v", e)
	}
	w.whole()
}

// TestBadInput: what cannot be meant, and files that are not what they are called.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.stopped(1)
	data, err := os.ReadFile(path(c, files[0]))
	w.must(err)
	write := func(file string, data []byte) { w.must(os.WriteFile(path(c, file), data, 0o644)) } //nolint:gosec // the server's user must read it
	write("0000000100000000000000AA", data)
	write("0000000100000000000000AB", data[:len(data)-8192])
	write("0000000100000000000000AC", make([]byte, len(data)))
	write("0000000100000000000000AD", nil)
	write("00000002.history", []byte("not a history\n"))
	for _, test := range []struct {
		code, file string
		says       string
	}{
		{"2", "nonsense", "not the name of a WAL"},
		{"2", files[0] + ".ready", "not the name of a WAL"},
		{"2", strings.ToLower("0000000100000000000000aa"), "not the name of a WAL"},
		{"1", "0000000100000000000000FF", "no such file"},
		{"4", "0000000100000000000000AA", "its first page is that of address"},
		{"4", "0000000100000000000000AB", "bytes long"},
		{"4", "0000000100000000000000AC", "no WAL page begins the file"},
		{"4", "0000000100000000000000AD", "0 bytes long"},
		{"4", "00000002.history", "not a valid timeline history"},
	} {
		code, _, said := ends(w.push(c, test.file))
		if code != test.code {
			t.Errorf("%s: ends with %s, want %s: %s", test.file, code, test.code, said)
		}
		checkSaid(t, said, test.says)
	}
	for _, args := range [][]string{
		{"--content", "x"}, {"--content", "01"}, {"--timeout", "0s"}, {"--namespace", "other"}, {"--nonsense"},
	} {
		code, _, said := ends(w.push(c, files[0], args...))
		if code != "2" {
			t.Errorf("%v: ends with %s: %s", args, code, said)
		}
		checkSaid(t, said)
	}
	// As Greenplum's coordinator archives.
	if code, _, said := ends(w.push(c, files[0], "--content", "-1")); code != "0" {
		t.Errorf("content -1: %s: %s", code, said)
	}
	if a := w.list().Archives; len(a) != 1 || a[0].Content != "-1" {
		t.Errorf("%+v", a)
	}
}

// hang returns the path of a key file that nobody ever gets to read.
func (w *world) hang() string {
	w.Helper()
	fifo := filepath.Join(w.dir, "fifo")
	w.must(unix.Mkfifo(fifo, 0o600))
	w.must(host.Give(fifo))
	return fifo
}

// pushing waits until a push of the file runs, and returns its process id.
func (w *world) pushing(c *pgtest.Cluster, file string) (pid int) {
	w.Helper()
	c.Await(w, "a push of "+file, func() bool {
		for _, p := range pgtest.Processes(executable+"\x00", w.dir, file) {
			if p.Program == executable {
				pid = p.PID
			}
		}
		return pid != 0
	})
	return pid
}

// gone waits until the process is no more.
func (w *world) gone(pid int) {
	w.Helper()
	w.await(fmt.Sprintf("process %d is gone", pid), func() bool { return syscall.Kill(pid, 0) != nil })
}

// TestSignals: a push ends by the signal that it gets, without a word.
func TestSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.stopped(1)
	hanging := w.hang()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGINT, syscall.SIGKILL} {
		cmd := w.push(c, files[0], "--key-file", hanging)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		w.must(cmd.Start())
		// It opens the key file when it has begun to listen for signals.
		end := w.opens(hanging)
		w.must(cmd.Process.Signal(sig))
		if got := outcome(cmd, cmd.Wait()); got != sig.String() || said.Len() > 0 {
			t.Errorf("%s: ends with %s: %s", sig, got, &said)
		}
		end()
	}
	if code, _, said := ends(w.push(c, files[0], "--key-file", hanging, "--timeout", "100ms")); code != "1" {
		t.Errorf("deadline: ends with %s: %s", code, said)
	} else {
		checkSaid(t, said, "gave up after 100ms")
	}
	if code, _, said := ends(w.push(c, files[0])); code != "0" {
		t.Errorf("after all that: %s: %s", code, said)
	}
	w.whole()
}

// opens waits until somebody wants to read from the pipe, which then goes on to wait
// for what nobody writes until the function is called.
func (w *world) opens(fifo string) (end func()) {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		f, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			return func() { _ = f.Close() }
		}
		if time.Now().After(deadline) {
			w.Fatal(err)
		}
	}
}

// TestFullDisk: a disk that is full fails the push, nothing that was archived is lost,
// and with more room it goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, files := w.stopped(6)
	for _, file := range files[1:] { // so that they do not compress
		fill := `f=$1; dd if=/dev/urandom of="$f" bs=8192 seek=1 count=127 conv=notrunc 2>/dev/null`
		if out, err := host.Run("sh", "-c", fill, "sh", path(c, file)); err != nil {
			t.Fatal(out)
		}
	}
	script := `set -eu
mount -t tmpfs -o size=3m,mode=777 tmpfs "$REPO"
"$EXE" repo init --repo "$REPO/r" --key-file "$REPO.key" >/dev/null
export GPDEDUP_REPO="$REPO/r" GPDEDUP_KEY_FILE="$REPO.key"
done=0
for file in $FILES; do
	rc=0; "$EXE" wal push --cluster main "pg_wal/$file" 2>"$REPO.said" || rc=$?
	if [ $rc != 0 ]; then break; fi
	done=$((done + 1))
done
echo "failed with $rc"
[ $done -ge 1 ] && [ $done -lt 5 ]
"$EXE" wal verify --cluster main >/dev/null
mount -o remount,size=32m "$REPO"
for file in $FILES; do "$EXE" wal push --cluster main "pg_wal/$file"; done
"$EXE" wal verify --cluster main
`
	disk := filepath.Join(w.dir, "disk")
	w.must(os.Mkdir(disk, 0o755))
	unshare := []string{"--mount", "sh", "-c", script}
	if os.Geteuid() != 0 {
		unshare = append([]string{"--user", "--map-root-user"}, unshare...)
	}
	cmd := exec.Command("unshare", unshare...)
	cmd.Dir = c.Data
	cmd.Env = append(os.Environ(), "EXE="+executable, "REPO="+disk, "FILES="+strings.Join(files, " "), "GPDEDUP_CACHE_DIR="+w.cache+"2")
	code, out, said := ends(cmd)
	if code != "0" || !strings.HasPrefix(out, "failed with 1\n") || !strings.Contains(out, "6 files") {
		t.Fatalf("ends with %s: %s%s", code, out, said)
	}
	text, err := os.ReadFile(disk + ".said")
	w.must(err)
	checkSaid(t, string(text), "no space left", "what was stored before is not harmed")
}
