package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// session is one run of gpbackup or gprestore: the plugin, its configuration and the directories of the segments.
type session struct {
	exe, config string
	timestamp   string
	root        string // of all data directories
	segments    int
	env         []string
}

// dir is where a segment's files of the backup are, or would be; the coordinator is content -1.
func (s *session) dir(content int) string {
	return filepath.Join(s.dataDir(content), "backups", s.timestamp[:8], s.timestamp)
}

func (s *session) dataDir(content int) string {
	if content < 0 {
		return filepath.Join(s.root, "coordinator", "gpseg-1")
	}
	return filepath.Join(s.root, "primary", fmt.Sprintf("gpseg%d", content))
}

// file is the path of one of the coordinator's files.
func (s *session) file(name string) string {
	return filepath.Join(s.dir(-1), "gpbackup_"+s.timestamp+"_"+name)
}

// shell runs a command line in a segment's data directory, as a server process does, and kills all of it on cancel.
// Whatever it says on stderr is an error, even if it succeeds: on a restore gpbackup would stop.
func (s *session) shell(ctx context.Context, content int, line string, in io.Reader, out io.Writer) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "umask 077; "+line)
	cmd.Dir = s.dataDir(content)
	cmd.Env = append(slices.Clone(s.env), fmt.Sprintf("GP_SEGMENT_ID=%d", content))
	cmd.Stdin, cmd.Stdout = in, out
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second // a child that keeps stderr open would hang a COPY
	err := cmd.Run()
	if err == nil && said.Len() > 0 {
		err = errors.New("not silent on stderr")
	}
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", line, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// hook calls a setup or cleanup command the way gpbackup does: coordinator, then all segments' hosts, then all segments,
// the content id with the quotes that it never loses.
func (s *session) hook(ctx context.Context, command string) error {
	line := func(content int, scope string) string {
		return fmt.Sprintf("%s %s %s %s %s", s.exe, command, s.config, s.dir(content), scope)
	}
	if err := s.shell(ctx, -1, line(-1, `master \"-1\"`), nil, nil); err != nil {
		return err
	}
	for _, scope := range []string{"segment_host", "segment"} {
		work, ctx := errgroup.WithContext(ctx)
		for c := range s.segments {
			what := scope
			if scope == "segment" {
				what = fmt.Sprintf(`segment \"%d\"`, c)
			}
			work.Go(func() error { return s.shell(ctx, c, line(c, what), nil, nil) })
		}
		if err := work.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// files calls backup_file or restore_file for the coordinator's files, one after the other.
func (s *session) files(ctx context.Context, command string, names ...string) error {
	for _, name := range names {
		if err := s.shell(ctx, -1, fmt.Sprintf("%s %s %s %s", s.exe, command, s.config, s.file(name)), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// key is the path that names a stream.
func (s *session) key(st stream, gzip bool) string {
	key := filepath.Join(s.dir(st.content), fmt.Sprintf("gpbackup_%d_%s_%d", st.content, s.timestamp, st.table.oid))
	if gzip {
		key += ".gz"
	}
	return key
}

// copyOut is COPY … TO PROGRAM on one segment.
func (s *session) copyOut(ctx context.Context, st stream, gzip bool) error {
	f, err := os.Open(st.path)
	if err != nil {
		return err
	}
	defer f.Close()
	line := fmt.Sprintf("%s backup_data %s %s", s.exe, s.config, s.key(st, gzip))
	if gzip {
		line = "gzip -c -1 | " + line
	}
	// A server writes to a pipe; hiding the file makes it one here too.
	return s.shell(ctx, st.content, line, struct{ io.Reader }{f}, nil)
}

// copyIn is COPY … FROM PROGRAM on one segment.
func (s *session) copyIn(ctx context.Context, st stream, gzip bool, out io.Writer) error {
	unpack := "cat -"
	if gzip {
		unpack = "gzip -d -c"
	}
	return s.shell(ctx, st.content, fmt.Sprintf("%s restore_data %s %s | %s", s.exe, s.config, s.key(st, gzip), unpack), nil, out)
}

// makeDirs makes the directories that a database has: its segments' and, for its files, the coordinator's.
func (s *session) makeDirs() error {
	for c := range s.segments {
		if err := os.MkdirAll(s.dataDir(c), 0o700); err != nil {
			return err
		}
	}
	return os.MkdirAll(s.dir(-1), 0o755)
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
