package local

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// killSize is the size of the object that the kill test stores under key.
func killSize(key string) int {
	sum := sha256.Sum256([]byte(key))
	return int(binary.BigEndian.Uint32(sum[:]) % 200_000)
}

// TestKill kills processes in the midst of storing. What they acknowledged is
// there, and everything that is there is whole.
func TestKill(t *testing.T) {
	if isChild(t) {
		killChild(t)
		return
	}
	s := newStore(t)
	acknowledged := map[string]bool{}
	for round := range 4 {
		var mu sync.Mutex
		var g errgroup.Group
		// Two processes that store the same objects, so that each meets what the
		// other has half done.
		for range 2 {
			g.Go(func() error {
				cmd := child(t, s.path)
				cmd.Env = append(cmd.Env, fmt.Sprint("ROUND=", round))
				cmd.Stderr = os.Stderr
				acks, err := readAcks(cmd, 50)
				mu.Lock()
				defer mu.Unlock()
				for _, key := range acks {
					acknowledged[key] = true
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		visible := keys(t, s)
		for _, key := range visible {
			if got, err := s.Get(t.Context(), key, -1); err != nil || !bytes.Equal(got, noise(key, killSize(key))) {
				t.Errorf("%s: %d of %d bytes or other ones, %v", key, len(got), killSize(key), err)
			}
			delete(acknowledged, key)
		}
		if len(acknowledged) != 0 {
			t.Errorf("acknowledged and not there: %v", acknowledged)
		}
		t.Logf("%d objects, %d temporaries", len(visible), len(temporaries(t, s)))
	}
	check()
	if _, err := s.RemoveTemporaries(t.Context(), 0); err != nil {
		t.Error(err)
	}
	wantNoTemporaries(t, s)
	check()
}

// killChild stores objects until it is killed and writes the key of each one that
// was acknowledged.
func killChild(t *testing.T) {
	s, err := Open(os.Getenv(dirEnv))
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for worker := range 4 {
		g.Go(func() error {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%s/%d/%02x/%d", os.Getenv("ROUND"), worker, i%16, i)
				if err := s.Put(t.Context(), key, noise(key, killSize(key))); err != nil {
					return err
				}
				fmt.Println("ack", key) // one write: lines do not mix
			}
		})
	}
	t.Fatal(g.Wait())
}

// readAcks starts the command, kills it with SIGKILL when it has acknowledged n
// objects, and returns the keys of all that it acknowledged until it was dead.
func readAcks(cmd *exec.Cmd, n int) ([]string, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var acks []string
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the pipe's end, after at most half a line
		}
		if key, ok := strings.CutPrefix(line, "ack "); ok {
			acks = append(acks, strings.TrimSpace(key))
			if len(acks) == n {
				_ = cmd.Process.Kill() // the end of the pipe will tell
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return nil, fmt.Errorf("the child was not killed but ended: %v, after %d objects", err, len(acks))
	}
	return acks, nil
}
