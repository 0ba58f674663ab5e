package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func backupData(s *store, _ string, args []string) error {
	err := s.put(args[0], os.Stdin)
	if broken("fails-though-stored") {
		return errors.New("not stored")
	}
	return err
}

func backupFile(s *store, _ string, args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		if broken("backup_file-missing-ok") {
			return nil
		}
		return err
	}
	defer f.Close()
	if broken("backup_file-removes-source") {
		defer os.Remove(args[0])
	}
	if broken("backup_file-needs-writable") {
		if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o200 == 0 {
			return fmt.Errorf("%s: %w", args[0], fs.ErrPermission)
		}
	}
	return s.put(fileKey(args[0]), f)
}

// fileKey is the key of a file: its path, for files and data share one namespace.
func fileKey(path string) string {
	if broken("two-namespaces") {
		return filepath.Join(filepath.Dir(path), filepath.Base(path)+".file")
	}
	return path
}

func restoreFile(s *store, _ string, args []string) error {
	target := args[0]
	if broken("restore_file-truncates-first") {
		_ = os.WriteFile(target, nil, 0o644)
	}
	f, err := s.get(fileKey(target))
	if err != nil {
		if broken("restore_file-missing-ok") {
			return nil
		}
		return err
	}
	defer f.Close()
	if broken("restore_file-keeps-readonly") {
		if info, err := os.Stat(target); err == nil && info.Mode().Perm()&0o200 == 0 {
			return nil
		}
	}
	// The target may be there, read-only: a new file takes its place.
	tmp, err := os.CreateTemp(filepath.Dir(target), ".restore-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, f)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), target); err != nil || !broken("restore_file-fails-though-restored") {
		return err
	}
	return errors.New("not restored")
}

func restoreData(s *store, _ string, args []string) error {
	if broken("restore_data-missing-emits-bytes") {
		fmt.Print("\n")
	}
	f, err := s.get(args[0])
	if err != nil {
		if broken("restore_data-missing-ok") {
			return nil
		}
		return err
	}
	defer f.Close()
	if broken("epipe-noise") {
		signal.Ignore(syscall.SIGPIPE)
	}
	_, err = io.Copy(os.Stdout, f)
	return unlessClosed(err)
}

// unlessClosed is no error if the reader has gone: on a filtered restore it has read all it wants.
func unlessClosed(err error) error {
	if !errors.Is(err, syscall.EPIPE) || broken("epipe-noise") {
		return err
	}
	os.Exit(1)
	return nil
}

// restoreSubset prints the ranges [start, end) that the offsets file names, in its order.
func restoreSubset(s *store, _ string, args []string) error {
	ranges, err := readOffsets(args[1])
	if err != nil {
		if !broken("subset-accepts-broken-offsets") {
			return err
		}
		ranges = nil
	}
	f, err := s.get(args[0])
	if err != nil {
		if broken("subset-missing-ok") {
			return nil
		}
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if broken("subset-sorts-ranges") {
		slices.SortFunc(ranges, func(a, b span) int { return int(a.start - b.start) })
	}
	for _, r := range ranges {
		if r.end > info.Size() && !broken("subset-beyond-end-ok") {
			return fmt.Errorf("restore %s: range %d-%d is beyond its end %d", args[0], r.start, r.end, info.Size())
		}
	}
	for i, r := range ranges {
		if broken("subset-first-only") && i > 0 {
			break
		}
		if r.start == r.end && broken("subset-empty-range-fails") {
			return errors.New("empty range")
		}
		if _, err := io.Copy(os.Stdout, io.NewSectionReader(f, r.start, r.length())); err != nil {
			return unlessClosed(err)
		}
	}
	return nil
}

type span struct{ start, end int64 }

func (r span) length() int64 {
	if broken("subset-off-by-one") {
		return r.end - r.start + 1
	}
	if broken("subset-small-only") {
		return min(r.end-r.start, 65536)
	}
	if broken("subset-drops-last") {
		return max(r.end-r.start-1, 0)
	}
	return r.end - r.start
}

// readOffsets reads "N start end start end …".
func readOffsets(name string) ([]span, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var numbers []int64
	for _, field := range strings.Fields(string(text)) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 || int64(len(numbers)) != 1+2*numbers[0] {
		return nil, fmt.Errorf("read %s: not as many offsets as it says", name)
	}
	var ranges []span
	for i := 1; i < len(numbers); i += 2 {
		ranges = append(ranges, span{numbers[i], numbers[i+1]})
	}
	return ranges, nil
}

// endOnSignal is the reader of the defect commits-on-signals: a signal looks like the end of the stream.
func endOnSignal(r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		_, err := io.Copy(pw, r)
		pw.CloseWithError(err)
	}()
	go func() {
		<-signals
		_ = pw.Close() // never fails
	}()
	return pr
}
