package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func deleteBackup(s *store, _ string, args []string) error {
	switch {
	case broken("delete-not-effective"):
		return nil
	case broken("delete-fails"):
		return errors.New("not supported")
	}
	return s.delete(args[0])
}

// delete removes a timestamp; one that is not there is as good as removed.
func (s *store) delete(ts string) error {
	if !digits14.MatchString(ts) {
		if broken("delete-accepts-anything") {
			return nil
		}
		return fmt.Errorf("delete %s: a timestamp has 14 digits", ts)
	}
	dir := filepath.Join(s.root, ts)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && broken("delete-unknown-fails") {
		return err
	}
	if broken("loses-after-delete") {
		_ = exclusive(s.tombstone(ts)) // the second time it is there
	}
	if broken("delete-leaves-files") {
		old, err := filepath.Glob(filepath.Join(dir, "*_*_*_*"))
		for _, name := range old {
			err = errors.Join(err, os.Remove(name))
		}
		return err
	}
	if broken("delete-prefix-deletes-neighbours") {
		old, err := filepath.Glob(filepath.Join(s.root, ts[:13]+"*"))
		for _, name := range old {
			err = errors.Join(err, os.RemoveAll(name))
		}
		return err
	}
	return os.RemoveAll(dir)
}

// listDirectory prints the base names of all streams under a directory of gpbackup's, or of all.
func listDirectory(s *store, _ string, args []string) error {
	pattern := "*"
	if len(args) > 0 {
		pattern = filepath.Base(args[0])
	}
	if broken("list-is-empty") {
		return nil
	}
	names, err := filepath.Glob(filepath.Join(s.root, pattern, "*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		fmt.Println(filepath.Base(name))
	}
	if broken("list-is-stale") {
		fmt.Printf("gpbackup_0_%s_16384\n", pattern)
	}
	return nil
}

func deleteDirectory(s *store, _ string, args []string) error {
	switch {
	case broken("delete_directory-not-effective"):
		return nil
	case broken("delete_directory-fails"):
		return errors.New("not supported")
	}
	return s.delete(filepath.Base(args[0]))
}

// replicateBackup copies a timestamp to the replica.
func replicateBackup(s *store, _ string, args []string) error {
	names, err := filepath.Glob(filepath.Join(s.root, args[0], "*"))
	if err != nil {
		return err
	}
	if len(names) == 0 && !broken("replicate-unknown-ok") {
		return fmt.Errorf("replicate %s: no such backup", args[0])
	}
	to := &store{root: s.replica}
	if broken("replicate-twice-destroys") {
		if err := os.Mkdir(filepath.Join(to.root, args[0]), 0o700); errors.Is(err, fs.ErrExist) {
			return os.RemoveAll(filepath.Join(to.root, args[0]))
		}
	}
	for _, name := range names {
		if broken("replicate-copies-nothing") {
			break
		}
		if broken("replicate-fails") {
			return errors.New("replica: not reachable")
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(to.put(name, f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// deleteReplica removes a timestamp from the replica only; the second time it says so, which scripts wait for.
func deleteReplica(s *store, _ string, args []string) error {
	to := &store{root: s.replica}
	if broken("delete_replica-deletes-backup") {
		if err := s.delete(args[0]); err != nil {
			return err
		}
	}
	if broken("delete_replica-not-effective") || broken("delete_replica-fails") {
		if broken("delete_replica-fails") {
			return errors.New("replica: not reachable")
		}
		return nil
	}
	if _, err := os.Stat(filepath.Join(to.root, args[0])); errors.Is(err, fs.ErrNotExist) {
		fmt.Println(strings.TrimSpace("already deleted"))
		return nil
	}
	return to.delete(args[0])
}
