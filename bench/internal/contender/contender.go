//go:build linux

// Package contender drives the programs that are measured: gpdedup, and its peers, which keep streams in a repository too.
// All are fed through standard input, because a database's table is no file whose time of change says that it need not
// be read. All encrypt, all keep their defaults but for the level of compression, which is the one nearest to gpdedup's.
package contender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/machine"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// Program is one that keeps streams.
type Program struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Settings string `json:"settings"` // for the report

	exe       string
	version   string // argument that has it printed
	env       func(dir string) []string
	setUp     [][]string
	put       func(tag string) []string
	get       func(tag, id string) []string
	noted     func(out []byte) (id string, err error) // from what put prints; nil: the tag will do
	lookUp    func(tag string) []string               // prints what noted reads; nil: put does
	forget    func(tag, id string) []string
	prune     []string
	check     []string
	checkData []string
	obtain    string // how to get it
}

// storeDir stands for the store's directory in what sets a repository up.
const storeDir = "{}"

// Gpdedup is the name of the program that all is about.
const Gpdedup = "gpdedup"

// Names are those of all programs that this package knows, gpdedup first.
func Names() (names []string) {
	for _, p := range known("") {
		names = append(names, p.Name)
	}
	return names
}

// Find returns gpdedup, at the path, and those of its peers that are wanted and installed; and a sentence for each that is
// wanted and is not.
func Find(gpdedup string, wanted []string) (found []*Program, missing []string, err error) {
	for _, p := range known(gpdedup) {
		if p.Name != Gpdedup && !slices.Contains(wanted, p.Name) {
			continue
		}
		exe, err := exec.LookPath(p.exe)
		if err != nil && p.Name == Gpdedup {
			return nil, nil, fmt.Errorf("find gpdedup: %w", err)
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s is not installed: %s", p.Name, p.obtain))
			continue
		}
		if p.exe, err = filepath.Abs(exe); err != nil {
			return nil, nil, err
		}
		if p.Version, err = machine.Version(p.exe, p.version); err != nil {
			return nil, nil, err
		}
		found = append(found, p)
	}
	return found, missing, nil
}

// Store is a repository of a program, with all that belongs to it in a directory.
type Store struct {
	*Program
	place *process.Place
	dir   string
	ids   map[string]string // by tag
}

// Input is a stream to store: a file, or else what is read.
type Input struct {
	File string
	From io.Reader
}

// Open makes a repository. Close removes it.
func (p *Program) Open(ctx context.Context, place *process.Place) (*Store, error) {
	dir, err := place.Fresh(p.Name)
	if err != nil {
		return nil, err
	}
	s := &Store{Program: p, place: place, dir: dir, ids: map[string]string{}}
	for _, args := range p.setUp {
		args = slices.Clone(args)
		for i := range args {
			args[i] = strings.Replace(args[i], storeDir, dir, 1)
		}
		if _, err := place.Run(ctx, s.command(args)); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close removes the repository.
func (s *Store) Close() error { return os.RemoveAll(s.dir) }

func (s *Store) command(args []string) process.Command {
	return process.Command{Args: append([]string{s.exe}, args...), Env: s.env(s.dir), Quiet: true, Watch: true}
}

// Put stores a stream under a tag, which is new to the repository, as the next version of what the others are.
func (s *Store) Put(ctx context.Context, tag string, in Input) (process.Usage, error) {
	c := s.command(s.put(tag))
	c.File, c.In = in.File, in.From
	var out strings.Builder
	c.Out = &out
	u, err := s.place.Run(ctx, c)
	if err != nil || s.noted == nil {
		return u, err
	}
	said := []byte(out.String())
	if s.lookUp != nil {
		if said, err = s.place.Output(ctx, s.command(s.lookUp(tag))); err != nil {
			return u, err
		}
	}
	if s.ids[tag], err = s.noted(said); err != nil {
		return u, fmt.Errorf("%s: %w", s.Name, err)
	}
	return u, nil
}

// Get writes a stream to out; with nil it goes through a pipe to cat, and on to /dev/null.
func (s *Store) Get(ctx context.Context, tag string, out io.Writer) (process.Usage, error) {
	c := s.command(s.get(tag, s.ids[tag]))
	c.Out, c.Pipe = out, out == nil
	return s.place.Run(ctx, c)
}

// GetToNull is Get without a pipe: the program writes to /dev/null itself.
func (s *Store) GetToNull(ctx context.Context, tag string) (process.Usage, error) {
	return s.place.Run(ctx, s.command(s.get(tag, s.ids[tag])))
}

// Forget deletes a stream. Its space is not free before Prune.
func (s *Store) Forget(ctx context.Context, tag string) (process.Usage, error) {
	return s.place.Run(ctx, s.command(s.forget(tag, s.ids[tag])))
}

// Prune frees all space that nothing needs.
func (s *Store) Prune(ctx context.Context) (process.Usage, error) {
	return s.place.Run(ctx, s.command(s.prune))
}

// Check looks for damage; with data it reads every byte.
func (s *Store) Check(ctx context.Context, data bool) (process.Usage, error) {
	args := s.check
	if data {
		args = s.checkData
	}
	return s.place.Run(ctx, s.command(args))
}

// CheckCommands are what Check runs, for a report; "" for a program that is not known.
func CheckCommands(name string) (quick, data string) {
	for _, p := range known("") {
		if p.Name == name {
			return name + " " + strings.Join(p.check, " "), name + " " + strings.Join(p.checkData, " ")
		}
	}
	return "", ""
}

// Size is what the repository takes, in bytes, without caches.
func (s *Store) Size() (int64, error) { return size.Of(filepath.Join(s.dir, "repo")) }

// DropCache empties the cache of a host, as one has it that never saw the repository.
func (s *Store) DropCache() error { return os.RemoveAll(filepath.Join(s.dir, "cache")) }

// Environment names the repository to any command of the program.
func (s *Store) Environment() []string { return s.env(s.dir) }
