package local

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/storage"
)

// The tests in this file change what belongs to a whole process: mounts, the
// umask, the user, limits. So each runs its body in a process of its own.

const (
	childEnv = "GPDEDUP_LOCAL_TEST_CHILD" // name of the test whose body is to run
	dirEnv   = "GPDEDUP_LOCAL_TEST_DIR"   // a directory that the parent made
)

func isChild(t *testing.T) bool { return os.Getenv(childEnv) == t.Name() }

// child prepares a run of the calling test as a child.
func child(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"="+t.Name(), dirEnv+"="+dir)
	return cmd
}

// runChild runs the calling test as a child that may mount file systems for
// itself, where the system lets it.
func runChild(t *testing.T, dir string) {
	t.Helper()
	private := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		private.Unshareflags |= syscall.CLONE_NEWUSER
		private.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		private.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var out bytes.Buffer
	for _, attr := range []*syscall.SysProcAttr{private, nil} {
		cmd := child(t, dir)
		cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = attr, &out, &out
		err := cmd.Start()
		if err != nil && attr != nil {
			t.Logf("no mounts of our own: %v", err)
			continue // the body makes do without
		}
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			t.Fatalf("in the child: %v\n%s", err, &out)
		}
		t.Logf("child: %s", &out)
		return
	}
}

// mountSmall mounts a small file system, or reports that we may not.
func mountSmall(t *testing.T, dir, options string) bool {
	t.Helper()
	if err := unix.Mount("gpdedup-test", dir, "tmpfs", 0, options); err != nil {
		t.Logf("mount: %v", err)
		return false
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return true
}

// limitFileSize makes the process unable to write files larger than n bytes.
func limitFileSize(t *testing.T, n uint64) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		t.Fatal(err)
	}
}

// noise makes the bytes that an object must have from its key.
func noise(key string, size int) []byte {
	b := make([]byte, size)
	src := rand.NewChaCha8(sha256.Sum256([]byte(key)))
	_, _ = src.Read(b) // never fails
	return b
}

func TestFullDisk(t *testing.T) {
	if !isChild(t) {
		runChild(t, "")
		return
	}
	for _, options := range []string{"size=1m", "nr_inodes=40"} {
		dir := t.TempDir()
		mounted := mountSmall(t, dir, options)
		s, err := Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		size := func(i int) int { return i % 7 * 10_000 }
		if !mounted {
			limitFileSize(t, 50_000)
		}
		var mu sync.Mutex
		stored := map[string]int{}
		var g errgroup.Group
		for worker := range 3 {
			g.Go(func() error {
				for i := 0; ; i++ {
					key := fmt.Sprintf("p/%d/%d/x", worker, i)
					err := s.Put(t.Context(), key, noise(key, size(i)))
					if errors.Is(err, storage.ErrNoSpace) {
						return nil
					}
					if err != nil {
						return err
					}
					mu.Lock()
					stored[key] = size(i)
					mu.Unlock()
				}
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		wantNoTemporaries(t, s)
		if got := keys(t, s); len(got) != len(stored) || len(got) == 0 {
			t.Errorf("%s: %d objects are visible, %d were acknowledged", options, len(got), len(stored))
		}
		for key, size := range stored {
			if got, err := s.Get(t.Context(), key, -1); err != nil || !bytes.Equal(got, noise(key, size)) {
				t.Errorf("%s: get %s: %d of %d bytes, %v", options, key, len(got), size, err)
			}
			if err := s.Delete(t.Context(), key); err != nil {
				t.Errorf("delete on a full disk: %v", err)
			}
		}
		mustPut(t, s, "p/0/0/x", noise("after", 50_000))
	}
}

func TestFileSizeLimit(t *testing.T) {
	if !isChild(t) {
		runChild(t, "")
		return
	}
	s := newStore(t)
	limitFileSize(t, 50_000)
	if err := s.Put(t.Context(), "a/large", noise("", 60_000)); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("put: %v", err)
	}
	wantNoTemporaries(t, s)
	mustPut(t, s, "a/small", noise("", 50_000))
	if got := keys(t, s); len(got) != 1 {
		t.Errorf("visible: %v", got)
	}
}

// wantReadOnly checks a store that holds "a/there" and cannot be written.
func wantReadOnly(t *testing.T, path string) {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, removeErr := s.RemoveTemporaries(t.Context(), 0)
	for op, err := range map[string]error{
		"put":                s.Put(t.Context(), "a/new", []byte("x")),
		"delete":             s.Delete(t.Context(), "a/there"),
		"remove temporaries": removeErr,
	} {
		if !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", op, err)
		}
	}
	if got, err := s.Get(t.Context(), "a/there", -1); err != nil || string(got) != "x" {
		t.Errorf("get: %q, %v", got, err)
	}
	if _, err := s.Stat(t.Context(), "a/new"); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	if got := keys(t, s); len(got) != 1 {
		t.Errorf("list: %v", got)
	}
}

func TestReadOnlyMount(t *testing.T) {
	if !isChild(t) {
		runChild(t, "")
		return
	}
	dir := t.TempDir()
	mounted := mountSmall(t, dir, "size=1m")
	s, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "a/there", []byte("x"))
	_ = s.Close()
	if !mounted { // then we are not root, and permissions bind us
		readOnlyModes(t, dir)
	} else if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	wantReadOnly(t, dir)
}

// readOnlyModes takes write permission from the directories of a store.
func readOnlyModes(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"a", tmpDir, "."} {
		path := filepath.Join(dir, name)
		if err := os.Chmod(path, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(path, 0o755) })
	}
}

// TestNoPermission runs as somebody who may read everything, may write nowhere,
// and has one object that he may not even read.
func TestNoPermission(t *testing.T) {
	if isChild(t) {
		if os.Geteuid() == 0 {
			if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
				t.Fatal(err)
			}
		}
		dir := os.Getenv(dirEnv)
		wantReadOnly(t, dir)
		if err := os.Mkdir("/new", 0o700); err == nil {
			t.Fatal("we are still root")
		}
		if _, err := Create(filepath.Join(dir, "new")); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("create: %v", err)
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for up := filepath.Dir(dir); strings.HasPrefix(up, os.TempDir()+"/"); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustPut(t, s, "a/there", []byte("x"))
	readOnlyModes(t, dir)
	cmd := child(t, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in the child: %v\n%s", err, out)
	}
}

func TestModes(t *testing.T) {
	if !isChild(t) {
		runChild(t, "")
		return
	}
	check := func(path string, want os.FileMode) {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	for _, umask := range []int{0o077, 0o777, 0} {
		for root, file := range map[os.FileMode]os.FileMode{0o700: 0o600, 0o750: 0o640, 0o770: 0o640, 0o777: 0o644} {
			parent := t.TempDir()
			given := filepath.Join(parent, "given")
			if err := errors.Join(os.Mkdir(given, 0o700), os.Chmod(given, root)); err != nil {
				t.Fatal(err)
			}
			before := syscall.Umask(umask)
			made, err := Create(filepath.Join(parent, "made"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := Create(given)
			if err != nil {
				t.Fatal(err)
			}
			mustPut(t, s, "a/b/c", []byte("x"))
			syscall.Umask(before)
			check(made.path, 0o700)
			check(given, root)
			for _, dir := range []string{"tmp", "a", "a/b"} {
				check(filepath.Join(given, dir), root)
			}
			check(filepath.Join(given, "a/b/c"), file)
			_ = s.Close()
			_ = made.Close()
		}
	}
}

// TestUnmounted: a repository whose file system is taken away under it does not
// look like an empty one.
func TestUnmounted(t *testing.T) {
	if !isChild(t) {
		runChild(t, "")
		return
	}
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mounted := mountSmall(t, dir, "size=1m")
	s, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustPut(t, s, "a", []byte("x"))
	if mounted {
		err = unix.Unmount(dir, unix.MNT_DETACH)
	} else {
		err = errors.Join(os.Rename(dir, dir+"-away"), os.Mkdir(dir, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	wantNoProof(t, s)
}
