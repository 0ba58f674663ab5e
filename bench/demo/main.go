package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// settings are the command line's.
type settings struct {
	exe      string // absolute
	size     int64  // of a day's tables, in bytes of text
	days     int
	segments int
	jobs     int // tables at once; each on all segments
	gzip     bool
	keep     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	set, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(2)
	}
	if err := run(ctx, set); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// parse reads the command line.
func parse(args []string) (settings, error) {
	set := settings{}
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	text := f.String("size", "200MB", "text of all tables on the first day")
	compress := f.String("compress", "none", "what gpbackup would pipe tables through: none or gzip")
	exe := f.String("gpdedup", "gpdedup", "the program to show, which may also be named as argument")
	f.IntVar(&set.days, "days", 3, "how many days to back up")
	f.IntVar(&set.segments, "segments", 2, "segments of the database")
	f.IntVar(&set.jobs, "jobs", 2, "tables at once, each on all segments (gpbackup --jobs)")
	f.BoolVar(&set.keep, "keep", false, "leave the repository behind")
	if err := f.Parse(args); err != nil {
		return set, err
	}
	var err error
	if set.size, err = size.Parse(*text); err != nil {
		return set, err
	}
	switch *compress {
	case "none":
	case "gzip":
		set.gzip = true
	default:
		return set, fmt.Errorf("compress with %q: only none and gzip are known", *compress)
	}
	if f.NArg() > 1 || set.days < 1 || set.segments < 1 || set.jobs < 1 {
		return set, errors.New("usage: demo [flags] [GPDEDUP]; days, segments and jobs are at least 1")
	}
	if f.NArg() == 1 {
		*exe = f.Arg(0)
	}
	if set.exe, err = filepath.Abs(*exe); err != nil {
		return set, err
	}
	info, err := os.Stat(set.exe)
	if err != nil {
		return set, fmt.Errorf("find gpdedup: %w (build it, or name it)", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return set, fmt.Errorf("find gpdedup: %s cannot be executed (build it, or name it)", set.exe)
	}
	if strings.ContainsAny(set.exe, " \t\n'\"$\\") {
		return set, fmt.Errorf("use %s: gpbackup does not quote paths", set.exe)
	}
	return set, nil
}

// run is the whole show.
func run(ctx context.Context, set settings) (err error) {
	dir, err := os.MkdirTemp("", "gpdedup-demo-")
	if err != nil {
		return err
	}
	if set.keep {
		defer fmt.Fprintf(os.Stderr, "kept: %s\n", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	w, err := newWorld(ctx, set, dir)
	if err != nil {
		return err
	}
	var rep report
	for n := range set.days {
		if n > 0 {
			w.db.nextDay()
		}
		day, err := w.backUp(ctx, n)
		if err != nil {
			return fmt.Errorf("back up day %d: %w", n+1, err)
		}
		rep.days = append(rep.days, day)
	}
	if rep.restore, err = w.restore(ctx); err != nil {
		return fmt.Errorf("restore day %d: %w", set.days, err)
	}
	if rep.verify, err = w.admin(ctx, "backup", "verify", w.timestamp); err != nil {
		return err
	}
	if rep.check, err = w.admin(ctx, "repo", "check"); err != nil {
		return err
	}
	return rep.print(os.Stdout, set)
}
