//go:build linux

package process

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main(map[string]func() error{"dies": dies})
	os.Exit(m.Run())
}

// dies prints its place and the process that runs there, and waits to be killed.
func dies() error {
	p, err := NewPlace(os.Getenv("WHERE"))
	if err != nil {
		return err
	}
	// The grandchild is in a session of its own, as daemons are.
	cmd := p.Start(context.Background(), Command{Args: []string{"sh", "-c", "setsid sleep 1000 & echo $!; wait"}})
	cmd.Stdout = os.Stdout
	fmt.Println(p.Dir)
	return cmd.Run()
}

func TestRun(t *testing.T) {
	p, err := NewPlace(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	file := filepath.Join(p.Dir, "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	u, err := p.Run(ctx, Command{Args: []string{"wc", "-c"}, File: file, Out: &out})
	if err != nil || strings.TrimSpace(out.String()) != strconv.Itoa(1<<20) || u.Wall <= 0 {
		t.Errorf("wc: %+v, %v, %q", u, err, out.String())
	}
	// Its child's time and its own peak count.
	u, err = p.Run(ctx, Command{Args: []string{"sh", "-c", "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; cat " + file}, Pipe: true, Watch: true})
	if err != nil || u.CPU < 10*time.Millisecond || u.Peak < 500<<10 || u.Anon > u.Peak {
		t.Errorf("sh: %+v, %v", u, err)
	}
	for _, args := range [][]string{{"false"}, {"sh", "-c", "echo oh >&2"}, {"/absent"}, {"sh", "-c", "echo $HOME >&2; exit 3"}} {
		if _, err := p.Run(ctx, Command{Args: args}); err == nil {
			t.Errorf("%q is a success", args)
		}
	}
	if _, err := p.Run(ctx, Command{Args: []string{"sh", "-c", "echo well >&2"}, Quiet: true}); err != nil {
		t.Error(err)
	}
	if _, err := p.Run(ctx, Command{Args: []string{"sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"}}); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.Dir); err == nil || len(inhabitants(p.Dir)) > 0 {
		t.Error("something is left")
	}
}

// TestKilled kills a measurement the hard way: its programs and its directory go away.
func TestKilled(t *testing.T) {
	where := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVariable+"=dies", "WHERE="+where)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var said []string
	for len(said) < 2 && lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if len(said) < 2 {
		t.Fatalf("it said %q", said)
	}
	sleeper, err := strconv.Atoi(said[1])
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left, err := os.ReadDir(where)
		if err != nil {
			t.Fatal(err)
		}
		alive := unix.Kill(sleeper, 0) == nil && len(inhabitants(said[0])) > 0
		if len(left) == 0 && !alive {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v, sleeper alive: %v", left, alive)
		}
	}
}
