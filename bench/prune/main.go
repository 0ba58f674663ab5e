// Command prune measures what it costs to delete two of five daily backups of a table
// and to get their space back, by gpdedup and, where it is installed, by restic, on the
// same data in the same run; and how that grows with ten times the data.
//
//	go run ./bench/prune --gpdedup ./gpdedup --update docs/performance.md
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/bench/internal/section"
	"github.com/gpdedup/gpdedup/bench/internal/size"
	"github.com/gpdedup/gpdedup/bench/tablegen"
)

const (
	days = 5
	mega = 1e6
)

// The days that are deleted: one that others build on, and one in between.
var deleted = []int{0, 2}

func main() {
	program := flag.String("gpdedup", "./gpdedup", "the program to measure")
	rows := flag.Int("rows", 300_000, "rows of the small table, about 157 bytes each; the large one has ten times as many")
	scale := flag.Int("scale", 10, "how many times as many rows the large table has; 1: only the small one")
	dir := flag.String("dir", "", "where to work; default: a temporary directory")
	document := flag.String("update", "", "the document whose section between the markers is replaced")
	flag.Parse()
	text, err := run(*program, *dir, *rows, *scale)
	if err == nil && *document != "" {
		err = section.Replace(*document, "prune", text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prune:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

// keeper is a program that keeps the days.
type keeper struct {
	name   string
	repo   string
	env    []string
	init   []string
	store  string // shell: reads the table on standard input
	forget func(day int) []string
	prune  []string
	check  []string
}

// figures are what one program took for one table.
type figures struct {
	stored, left int64         // bytes of the repository before and after
	took         time.Duration // of prune alone
	peak         int64         // bytes of memory
	read         int64         // bytes that prune asked the system for
	fresh        int64         // bytes of a repository that never had the deleted days
	again        time.Duration // a second prune, with nothing to do
}

// readBytes is what prune read; of a program that hides it, nothing is known.
func (f figures) readBytes() string {
	if f.read < mega { // what it shows is from before it hid it
		return "–"
	}
	return fmt.Sprintf("%.1f MB", float64(f.read)/mega)
}

func run(program, dir string, rows, scale int) (string, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp(dir, "gpdedup-prune-*"); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	var b strings.Builder
	fmt.Fprintf(&b, "`go run ./bench/prune --gpdedup ./gpdedup --rows %d --scale %d`: five days of a table, 1.3 %% of its rows changed each\n"+
		"day; days 1 and 3 are deleted, then pruned (gpdedup: `repo prune --exclusive`, which leaves nothing unused; restic:\n`prune --max-unused 0`).\n\n", rows, scale)
	fmt.Fprintf(&b, "| table | program | five days | after prune | never had them | prune | again | read | peak memory |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, n := range []int{rows, rows * scale} {
		tables, err := makeDays(filepath.Join(dir, strconv.Itoa(n)), n)
		if err != nil {
			return "", err
		}
		for _, k := range keepers(program, filepath.Join(dir, strconv.Itoa(n))) {
			fmt.Fprintf(os.Stderr, "%s, %d rows\n", k.name, n)
			f, err := k.measure(tables)
			if err != nil {
				return "", fmt.Errorf("%s: %w", k.name, err)
			}
			fmt.Fprintf(&b, "| %.0f MB | %s | %.1f MB | %.1f MB | %.1f MB | %.2f s | %.2f s | %s | %.0f MiB |\n", float64(length(tables[0]))/mega, k.name,
				float64(f.stored)/mega, float64(f.left)/mega, float64(f.fresh)/mega, f.took.Seconds(), f.again.Seconds(), f.readBytes(), float64(f.peak)/(1<<20))
		}
		if scale == 1 {
			break
		}
	}
	return b.String(), nil
}

func makeDays(dir string, rows int) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	table := tablegen.New(tablegen.Heap, 1, rows)
	for d := range days {
		if d > 0 {
			table.NextDay(tablegen.Daily(tablegen.Heap))
		}
		file := filepath.Join(dir, "day"+strconv.Itoa(d))
		f, err := os.Create(file)
		if err != nil {
			return nil, err
		}
		if _, err = table.WriteTo(f); err == nil {
			err = f.Close()
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func keepers(program, dir string) []keeper {
	ours := func(name string) keeper {
		repo := filepath.Join(dir, name)
		return keeper{
			name: "gpdedup", repo: repo,
			env: []string{
				"GPDEDUP_REPO=" + repo, "GPDEDUP_KEY_FILE=" + repo + ".key", "GPDEDUP_CACHE_DIR=" + repo + ".cache",
			},
			init:  []string{program, "repo", "init"},
			store: "'" + program + "' stream put -q table",
			prune: []string{program, "repo", "prune", "--exclusive"},
			check: []string{program, "repo", "check", "--read-data"},
			forget: func(day int) []string {
				return []string{"sh", "-c", `"$0" stream delete -q "table@$("$0" stream list table | awk -v n=` + strconv.Itoa(days-day+1) + ` 'NR==n{print $2}')"`, program}
			},
		}
	}
	list := []keeper{ours("gpdedup")}
	if _, err := exec.LookPath("restic"); err != nil {
		return list
	}
	repo := filepath.Join(dir, "restic")
	return append(list, keeper{
		name: "restic", repo: repo,
		env:   []string{"RESTIC_REPOSITORY=" + repo, "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR=" + repo + ".cache"},
		init:  []string{"restic", "init"},
		store: "restic -q backup --stdin --stdin-filename table --tag day$DAY",
		prune: []string{"restic", "-q", "prune", "--max-unused", "0"},
		check: []string{"restic", "-q", "check", "--read-data"},
		forget: func(day int) []string {
			return []string{"restic", "-q", "forget", "--tag", "day" + strconv.Itoa(day), "--keep-tag", "none", "--unsafe-allow-remove-all"}
		},
	})
}

func (k keeper) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), k.env...)
	return cmd
}

func succeed(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (k keeper) backup(day int, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := k.command("sh", "-c", k.store)
	cmd.Env = append(cmd.Env, "DAY="+strconv.Itoa(day))
	cmd.Stdin = f
	return succeed(cmd)
}

func (k keeper) measure(tables []string) (f figures, err error) {
	if err := succeed(k.command(k.init...)); err != nil {
		return f, err
	}
	for d, file := range tables {
		if err := k.backup(d, file); err != nil {
			return f, err
		}
	}
	if f.stored, err = size.Of(k.repo); err != nil {
		return f, err
	}
	for _, d := range deleted { // the oldest first: it is the last of a list
		if err := k.delete(d); err != nil {
			return f, err
		}
	}
	start := time.Now()
	if err := k.watched(&f); err != nil {
		return f, err
	}
	f.took = time.Since(start)
	if f.left, err = size.Of(k.repo); err != nil {
		return f, err
	}
	start = time.Now()
	if err := succeed(k.command(k.prune...)); err != nil {
		return f, err
	}
	f.again = time.Since(start)
	if err := succeed(k.command(k.check...)); err != nil {
		return f, err
	}
	if err := os.RemoveAll(k.repo); err != nil {
		return f, err
	}
	for _, extra := range []string{".key", ".cache"} {
		if err := os.RemoveAll(k.repo + extra); err != nil {
			return f, err
		}
	}
	if err := succeed(k.command(k.init...)); err != nil {
		return f, err
	}
	gone := map[int]bool{}
	for _, d := range deleted {
		gone[d] = true
	}
	for d, file := range tables {
		if !gone[d] {
			if err := k.backup(d, file); err != nil {
				return f, err
			}
		}
	}
	if f.fresh, err = size.Of(k.repo); err != nil {
		return f, err
	}
	return f, os.RemoveAll(k.repo)
}

func (k keeper) delete(day int) error {
	if k.name != "restic" {
		return succeed(k.command(k.forget(day)...))
	}
	// By its number: what "forget" takes by a tag is a policy.
	out, err := k.command("restic", "-q", "snapshots", "--tag", "day"+strconv.Itoa(day), "--json").Output()
	if err != nil {
		return err
	}
	_, rest, ok := strings.Cut(string(out), `"short_id":"`)
	if !ok {
		return fmt.Errorf("restic: no snapshot of day %d", day)
	}
	return succeed(k.command("restic", "-q", "forget", rest[:8]))
}

// watched runs prune and takes note of its memory and of what it reads.
func (k keeper) watched(f *figures) error {
	cmd := k.command(k.prune...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			data, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/io")
			if err != nil {
				return
			}
			for line := range strings.Lines(string(data)) {
				if n, ok := strings.CutPrefix(line, "rchar: "); ok {
					if v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64); err == nil {
						f.read = max(f.read, v)
					}
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	err := cmd.Wait()
	<-done
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		f.peak = usage.Maxrss << 10
	}
	if err != nil {
		return fmt.Errorf("prune: %w: %s", err, said.Bytes())
	}
	return nil
}

func length(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}
