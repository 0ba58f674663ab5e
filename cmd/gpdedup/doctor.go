package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/gpdedup/gpdedup/plugin/doctor"
	"github.com/gpdedup/gpdedup/repo"
)

// doctorCommand is the command that reads --config by itself.
const doctorCommand = "doctor"

// DoctorCmd is gpdedup doctor.
type DoctorCmd struct {
	Hosts string `placeholder:"FILE" help:"Look at these hosts, too, over ssh: one name in a line."`
	SSH   string `name:"ssh" default:"ssh" placeholder:"PROGRAM" help:"What to call in place of ssh."`
}

// Help shows examples.
func (DoctorCmd) Help() string {
	return `Looks at all that gpbackup needs to work with the plugin, with the YAML that gpbackup is
given: the options, the executable, log and cache directory, the key, the repository and its
space, whether this host may write there (a small object is put and removed), and the
clocks. Run it as the user that runs gpbackup, on the coordinator.

With --hosts it runs the executable of the YAML on each of these hosts, as gpbackup does,
and compares versions, programs, clocks, and which repository is seen there. The YAML goes
along; nothing needs to be copied.

A "problem" is what makes backups or restores fail, or unsafe: the exit code is then 1.
With a "warning" they work, but slower, or not for long.

Examples:

	gpdedup doctor --config /home/gpadmin/gpdedup.yaml
	psql -Atc 'select distinct hostname from gp_segment_configuration' postgres >hosts
	gpdedup doctor --config /home/gpadmin/gpdedup.yaml --hosts hosts
`
}

// Run examines.
func (c *DoctorCmd) Run(g *Globals) error {
	if g.Config == "" {
		return usageError("doctor: no configuration is given", "give --config FILE, the YAML that gpbackup is given")
	}
	if g.Repo != "" || g.KeyFile != "" || g.PasswordFile != "" || g.PasswordCommand != "" || g.Namespace != "" || g.CacheDir != "" || g.Bucket != (Bucket{}) {
		return usageError("doctor: it looks at what the configuration says, and at nothing else", "leave all flags of the repository but --config out")
	}
	o := doctor.Options{Getenv: os.Getenv, Version: version, Now: time.Now()}
	if err := o.ReadFile(g.Config, os.Stdin); err != nil {
		return usageError("doctor: "+err.Error(), "")
	}
	var err error
	if o.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	hosts, err := c.hosts()
	if err != nil {
		return err
	}
	report := doctor.Run(g.Context(), o)
	if hosts != nil {
		doctor.Cluster(g.Context(), report, o, *hosts)
	}
	if err := g.Context().Err(); err != nil {
		return err
	}
	if err := g.Print(report, func(w io.Writer) { writeDoctor(w, report, g.Verbose) }); err != nil {
		return err
	}
	if report.Problems > 0 {
		return fmt.Errorf("doctor: %s found", count(report.Problems, "problem"))
	}
	return nil
}

// hosts reads the list of hosts, if there is one.
func (c *DoctorCmd) hosts() (*doctor.Hosts, error) {
	if c.Hosts == "" {
		return nil, nil //nolint:nilnil // as the comment says
	}
	text, err := os.ReadFile(c.Hosts)
	if err != nil {
		return nil, usageError("doctor: "+err.Error(), "")
	}
	names, err := doctor.ParseHosts(string(text))
	if err != nil {
		return nil, usageError(fmt.Sprintf("doctor: %s: %s", c.Hosts, err), "one name in a line")
	}
	ssh, err := exec.LookPath(c.SSH)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, repo.WithHint(fmt.Errorf("doctor: %w", err), "install openssh-client, or name another program with --ssh")
	}
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	return &doctor.Hosts{Names: names, SSH: ssh}, nil
}

// writeDoctor writes the findings. Of other hosts, what is in order is one line, unless
// all is wanted.
func writeDoctor(w io.Writer, r *doctor.Report, all bool) {
	t := newTable(w)
	said := make(map[string]bool)
	for _, f := range r.Sorted() {
		if f.State == doctor.OK && f.Host != r.Host && !all {
			if !said[f.Host] {
				row(t, string(f.State), f.Host, "", "all else")
			}
			said[f.Host] = true
			continue
		}
		row(t, string(f.State), f.Host, f.Check, oneLine(f.Says))
		if f.Fix != "" {
			row(t, "", "", "", "fix: "+oneLine(f.Fix))
		}
	}
	_ = t.Flush() // to a buffer
	say(w, "%s, %s", count(r.Problems, "problem"), count(r.Warnings, "warning"))
}
