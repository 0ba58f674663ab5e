package index

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
)

// The tests here start this test binary again as another process, which then runs
// one of these with its arguments and no tests.
const childVariable = "GPDEDUP_INDEX_TEST_CHILD"

func TestMain(m *testing.M) {
	mode, arguments, _ := strings.Cut(os.Getenv(childVariable), " ")
	var err error
	switch mode {
	case "":
		os.Exit(m.Run())
	case "build":
		err = childBuild(strings.Fields(arguments))
	case "read":
		err = childRead(strings.Fields(arguments))
	default:
		err = fmt.Errorf("unknown mode %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(t *testing.T, arguments ...any) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(must(os.Executable()))
	cmd.Env = append(os.Environ(), childVariable+"="+strings.TrimSpace(fmt.Sprintln(arguments...)))
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

// sharedWorld is the same in each process. No chunk is in two fragments: of those a
// reader with another listing than the builder's may miss one.
func sharedWorld(fragments, chunks int) *world {
	w := newWorld()
	for i := range fragments {
		w.add(withFeatures(newRand(i), randomPack(newRand(i), chunks)), testPack(i, 3*i, 3*i+1, 3*i+2))
	}
	return w
}

const crashFragments, crashChunks = 10, 1500

func openChild(dir string) (*Cache, error) {
	c, err := OpenCache(dir, CacheOptions{FirstOffset: testFirst, MaxGenerations: 2})
	c.batch = 200 << 10 // several runs
	return c, err
}

// childBuild refreshes the cache in args[0] with all fragments, and dies by SIGKILL
// at step args[1]; at step 0 it prints each step instead.
func childBuild(args []string) error {
	c, err := openChild(args[0])
	if err != nil {
		return err
	}
	at, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	n := 0
	c.step = func(name string) {
		if at == 0 {
			fmt.Println(name)
		}
		if n++; n == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	w := sharedWorld(crashFragments, crashChunks)
	// One after the other: the number of a step then always means the same step.
	_, err = c.Refresh(context.Background(), w.list(), w.load)
	return err
}

// TestBuilderDiesAtEachStep kills a builder at every step of a refresh that loads,
// sorts, merges and replaces, and looks at what it leaves: a cache that is right at
// once, whole after the next refresh, and holds no leftovers.
func TestBuilderDiesAtEachStep(t *testing.T) {
	w := sharedWorld(crashFragments, crashChunks)
	for step, done := 1, false; !done; step++ {
		c := testCache(t, CacheOptions{MaxGenerations: 2})
		prepareCrash(t, c, w)
		cmd := child(t, "build", c.dir, step)
		err := cmd.Run()
		var exit *exec.ExitError
		if done = err == nil; !done && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
			t.Fatalf("step %d: %v: %s", step, err, cmd.Stderr)
		}
		checkAfterCrash(t, c, w, step)
		if done && step < 12 {
			t.Errorf("only %d steps", step)
		}
	}
}

// TestBuilderIsKilled kills builders from outside, after as many of their steps as
// chance wants, again and again in one directory.
func TestBuilderIsKilled(t *testing.T) {
	w := sharedWorld(crashFragments, crashChunks)
	c := testCache(t, CacheOptions{MaxGenerations: 2})
	r := newRand(1)
	for range 15 {
		prepareCrash(t, c, w)
		cmd := child(t, "build", c.dir, 0)
		lines := bufio.NewScanner(must(cmd.StdoutPipe()))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range r.IntN(20) {
			lines.Scan()
		}
		_ = cmd.Process.Kill() // it may have finished
		_ = cmd.Wait()
		checkView(t, c, w, w.order)
	}
	checkAfterCrash(t, c, w, 0)
}

// prepareCrash leaves two generations, one of which is mostly dead to the child.
func prepareCrash(t *testing.T, c *Cache, w *world) {
	extra := newWorld()
	extra.clock = w.clock
	dead := extra.add(randomPack(newRand(1000), 4000))
	both := func(ctx context.Context, id digest.ID) ([]Pack, error) {
		if id == dead {
			return extra.load(ctx, id)
		}
		return w.load(ctx, id)
	}
	mustRefresh(t, c, append(w.list(w.order[:3]...), extra.list()...), both)
	mustRefresh(t, c, append(w.list(w.order[:4]...), extra.list()...), both)
}

func checkAfterCrash(t *testing.T, c *Cache, w *world, step int) {
	t.Helper()
	checkView(t, c, w, w.order)
	r := mustRefresh(t, c, w.list(), w.load)
	if r.Busy || r.Damaged != nil {
		t.Errorf("step %d: next refresh: %+v", step, r)
	}
	checkView(t, c, w, w.order)
	files := must(c.list())
	if files.temps != nil || len(files.generations) > 2 {
		t.Errorf("step %d: left behind: %+v", step, files)
	}
	if again := mustRefresh(t, c, w.list(), noLoad(t)); again.Built != "" {
		t.Errorf("step %d: a refresh without news built: %+v", step, again)
	}
}

// checkView expects every chunk of the listed fragments at one of its places.
func checkView(t *testing.T, c *Cache, w *world, listed []digest.ID) {
	t.Helper()
	if err := viewError(c, w, listed); err != nil {
		t.Fatal(err)
	}
}

func viewError(c *Cache, w *world, listed []digest.ID) error {
	v, err := c.View(context.Background(), w.list(listed...), w.load)
	if err != nil {
		return err
	}
	defer func() { _ = v.Close() }()
	for id, locs := range w.locations(listed...) {
		if got, ok := v.Find(id, nil); !ok || !slices.Contains(locs, got) {
			return fmt.Errorf("%s: found %+v, %v; it is at %+v; damaged %v", id.Short(), got, ok, locs, v.Damaged())
		}
	}
	if d := v.Damaged(); d != nil {
		return fmt.Errorf("damaged: %v", d)
	}
	return nil
}

const readFragments, readChunks = 40, 300

// childRead opens Views of random listings of the cache in args[0].
func childRead(args []string) error {
	c, err := openChild(args[0])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	w := sharedWorld(readFragments, readChunks)
	r := rand.New(rand.NewPCG(seed, 3))
	for range 60 {
		if err := viewError(c, w, w.order[:r.IntN(len(w.order))+1]); err != nil {
			return err
		}
	}
	return nil
}

// TestReadersBesideBuilder: several processes read while this one keeps rebuilding.
func TestReadersBesideBuilder(t *testing.T) {
	w := sharedWorld(readFragments, readChunks)
	c := testCache(t, CacheOptions{MaxGenerations: 2})
	ended := make(chan error)
	const readers = 3
	for i := range readers {
		cmd := child(t, "read", c.dir, i)
		go func() {
			out, err := cmd.Output()
			if err != nil {
				err = fmt.Errorf("reader %d: %w: %s%s", i, err, out, cmd.Stderr)
			}
			ended <- err
		}()
	}
	for n, running := 0, readers; running > 0; n++ {
		mustRefresh(t, c, w.list(w.order[:n%readFragments+1]...), w.load)
		if n%readFragments == 0 {
			c.opts.MaxGenerations = 1 + n%3
		}
		select {
		case err := <-ended:
			running--
			if err != nil {
				t.Error(err)
			}
		default:
		}
	}
}
