package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/completion"
)

// completions are lines that somebody begins to type, in a directory with the file
// near.key and the directory nearby, and all that a shell is to offer.
var completions = []struct{ line, want string }{
	{"gpdedup st", "stream"},
	{"gpdedup repo i", "info init"},
	{"gpdedup --repo nearby repo i", "info init"},
	{"gpdedup --repo=s3://b/p --path-style repo i", "info init"},
	{"gpdedup -q repo ch", "check"},
	{"gpdedup wal --cluster list ve", "verify"},
	{"gpdedup repo init --ch", "--chunk-size"},
	{"gpdedup repo init --no-", "--no-encryption --no-path-style"},
	{"gpdedup stream put x --delta ", "auto off on"},
	{"gpdedup stream put x --delta=a", "auto"},
	{"gpdedup base restore --target-action p", "pause promote"},
	{"gpdedup base restore -D n", "nearby"},
	{"gpdedup stream put n", ""},
	{"gpdedup repo nosuch --chunk-si", ""},
	{"gpdedup --key-file n", "near.key nearby"},
	{"gpdedup --key-file=n", "near.key nearby"},
	{"gpdedup repo info --repo n", "nearby"},
	{"gpdedup wal push n", "near.key nearby"},
	{"gpdedup --namespace n", ""},
	{"gpdedup help repo i", "info init"},
	{"gpdedup man wal ch", "check"},
	{"gpdedup completion z", "zsh"},
	{"gpdedup repo --json key ro", "rotate"},
	{"gpdedup help repo key ro", "rotate"},
	{"gpdedup repo key add --new-key-file n", "near.key nearby"},
}

// Each shell completes with its own script, in a real process of it.
func TestCompletion(t *testing.T) {
	t.Parallel()
	root, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	tests := mustAbs(t, "testdata/completion")
	for shell, drive := range map[string][]string{
		"bash": {"bash", "--norc", tests + "/bash.sh"},
		"zsh":  {"zsh", "-f", tests + "/zsh.zsh"},
		"fish": {"fish", "--no-config", tests + "/fish.fish"},
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell); err != nil {
				t.Fatal(err) // make debs installs it
			}
			script, err := completion.Script(shell, root)
			if err != nil {
				t.Fatal(err)
			}
			offered := complete(t, drive, script, tests)
			for i, c := range completions {
				if offered[i] != c.want {
					t.Errorf("%q: offered %q, want %q", c.line, offered[i], c.want)
				}
			}
		})
	}
}

// complete has a shell complete all lines, and returns what it offers, sorted.
func complete(t *testing.T, drive []string, script, tests string) []string {
	t.Helper()
	dir, home := t.TempDir(), t.TempDir()
	path := filepath.Join(home, "completion")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "near.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "nearby"), 0o700); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, c := range completions {
		lines.WriteString(c.line + "\n")
	}
	args := append(slices.Clone(drive[1:]), path, tests+"/offer.zsh")
	cmd := exec.CommandContext(t.Context(), drive[0], args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(lines.String())
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C.UTF-8"}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("%v: %s", err, said.String())
	}
	var offered []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		for i, word := range words {
			if _, value, found := strings.Cut(word, "="); found { // fish offers --flag=value
				word = value
			}
			words[i] = strings.TrimSuffix(word, "/")
		}
		slices.Sort(words)
		offered = append(offered, strings.Join(slices.Compact(words), " "))
	}
	if len(offered) != len(completions) {
		t.Fatalf("%d answers to %d lines: %q", len(offered), len(completions), offered)
	}
	return offered
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
