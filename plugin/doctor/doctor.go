// Package doctor finds out, before a night does, whether gpbackup will be able to work
// with the plugin: the configuration, the executable, the key, the repository, and what
// is on each host. It changes nothing but a probe object that it puts and removes, and
// the cache directory, which it makes.
//
// [Run] looks at one host. [Cluster] has a doctor run on each of several, over ssh, as
// gpbackup runs the plugin, and compares what they say.
package doctor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
)

// State says how a finding bears on backups.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // backups work; the finding says what does not
	Problem State = "problem" // backups or restores will fail, or are not safe
)

// Finding is what one check found.
type Finding struct {
	Host  string `json:"host"`
	Check string `json:"check"`
	State State  `json:"state"`
	Says  string `json:"says"`          // a sentence, without a full stop
	Fix   string `json:"fix,omitempty"` // what to do about it
}

// Report is what was found.
type Report struct {
	Host       string    `json:"host"`
	Version    string    `json:"version"`
	SHA256     string    `json:"sha256"`     // of the executable that gpbackup calls
	Repository string    `json:"repository"` // id; empty: it does not open
	Time       time.Time `json:"time"`       // by the clock of the host
	Findings   []Finding `json:"findings"`
	Problems   int       `json:"problems"`
	Warnings   int       `json:"warnings"`
}

// count sets the numbers of problems and warnings.
func (r *Report) count() {
	r.Problems, r.Warnings = 0, 0
	for _, f := range r.Findings {
		switch f.State {
		case Problem:
			r.Problems++
		case Warning:
			r.Warnings++
		case OK:
		}
	}
}

// Options say what to look at.
type Options struct {
	Config  string                      // name of the YAML file, for messages
	Data    []byte                      // what it holds
	Mode    os.FileMode                 // of the file; 0: it is not a file
	Getenv  func(string) string         // of the environment
	Version string                      // of this program
	Self    string                      // path of this program
	Now     time.Time                   // by this host's clock
	Disk    func(string) (*Disk, error) // nil: what the system says
}

// examination is one run.
type examination struct {
	ctx    context.Context //nolint:containedctx // lives as long as Run
	o      Options
	config *plugin.Config
	exe    string // path of the executable; empty: none
	report Report
}

func (x *examination) find(check string, state State, fix, format string, args ...any) {
	x.report.Findings = append(x.report.Findings, Finding{x.report.Host, check, state, fmt.Sprintf(format, args...), fix})
}

// fail reports an error, with its hint if it has one.
func (x *examination) fail(check string, err error, fix string) {
	if hint := repo.Hint(err); hint != "" {
		fix = hint
	}
	x.find(check, Problem, fix, "%s", err)
}

// Run examines this host.
func Run(ctx context.Context, o Options) *Report {
	if o.Disk == nil {
		o.Disk = diskOf
	}
	x := &examination{ctx: ctx, o: o}
	x.report = Report{Version: o.Version, Time: o.Now, Findings: []Finding{}}
	x.report.Host, _ = os.Hostname() // for people
	if x.configuration() {
		x.executable()
		x.log()
		x.cache()
		if x.key() {
			x.repository()
		}
	}
	x.report.count()
	return &x.report
}

// ReadFile reads a configuration for Options: from a file, or, if path is "-", from in.
func (o *Options) ReadFile(path string, in io.Reader) error {
	o.Config = path
	if path == "-" {
		o.Config = "standard input"
		data, err := io.ReadAll(io.LimitReader(in, 2<<20))
		o.Data = data
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	o.Mode = info.Mode()
	o.Data, err = os.ReadFile(path)
	return err
}

// checksum returns the SHA-256 of a file.
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// load reads the configuration as a plugin command does.
func load(o *Options) (*plugin.Config, error) {
	return plugin.ReadConfig(o.Config, bytes.NewReader(o.Data))
}

// worst first, for tables.
var order = []State{Problem, Warning, OK}

// Sorted returns the findings of the report, problems first, else as they were found.
func (r *Report) Sorted() []Finding {
	sorted := slices.Clone(r.Findings)
	slices.SortStableFunc(sorted, func(a, b Finding) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	return sorted
}
