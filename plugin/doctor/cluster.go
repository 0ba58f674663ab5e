package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Hosts are where to look, and how to get there.
type Hosts struct {
	Names []string
	SSH   string // program; called as ssh is
	// Parallel is how many hosts are asked at once; 0: 8.
	Parallel int
}

// ParseHosts reads a list of hosts: one in a line, with empty lines and comments (#).
func ParseHosts(text string) ([]string, error) {
	var names []string
	seen := make(map[string]bool)
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, "#")
		name = strings.TrimSpace(name)
		switch {
		case name == "" || seen[name]:
			continue
		case strings.HasPrefix(name, "-") || strings.ContainsAny(name, " \t"):
			return nil, fmt.Errorf("%q is not the name of a host", name) // and no option of ssh
		}
		seen[name] = true
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, errors.New("it names no host")
	}
	return names, nil
}

// hostLimit is how long a host may take. Its doctor waits for the storage.
const hostLimit = 3 * time.Minute

// skewLimit is from where on clocks of hosts that differ are worth a word.
const skewLimit = time.Minute

// Cluster has each host examined by the executable that gpbackup calls there, and adds
// what they say to the report of this host. The configuration goes along: gpbackup, too,
// copies it to all hosts.
func Cluster(ctx context.Context, local *Report, o Options, h Hosts) {
	config, err := load(&o)
	if err != nil || config.Executable == "" {
		return // was said, and there is nothing to call
	}
	if h.Parallel <= 0 {
		h.Parallel = 8
	}
	found := make([][]Finding, len(h.Names))
	turn := make(chan struct{}, h.Parallel)
	var wg sync.WaitGroup
	for i, name := range h.Names {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			x := &visit{ssh: h.SSH, host: name, exe: os.ExpandEnv(config.Executable), data: o.Data}
			x.examine(ctx, local)
			found[i] = x.findings
		})
	}
	wg.Wait()
	for _, f := range found {
		local.Findings = append(local.Findings, f...)
	}
	local.count()
}

// visit is the examination of another host.
type visit struct {
	ssh, host, exe string
	data           []byte
	findings       []Finding
}

func (v *visit) find(check string, state State, fix, format string, args ...any) {
	v.findings = append(v.findings, Finding{v.host, check, state, fmt.Sprintf(format, args...), fix})
}

// run runs a command on the host.
func (v *visit) run(ctx context.Context, input []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, hostLimit)
	defer cancel()
	command := shellPath(v.exe)
	for _, a := range args {
		command += " " + a
	}
	cmd := exec.CommandContext(ctx, v.ssh, "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", v.host, command)
	cmd.WaitDelay = time.Second
	cmd.Stdin = bytes.NewReader(input)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer within %s", hostLimit)
	}
	if err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			lines := strings.Split(text, "\n")
			err = fmt.Errorf("%s (%w)", strings.TrimSpace(lines[0]), err)
		}
	}
	return out.String(), err
}

// shellPath quotes a path for the shell of the host, which expands ~ as for gpbackup.
func shellPath(path string) string {
	home := ""
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, path = "~/", rest
	}
	return home + "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

func (v *visit) examine(ctx context.Context, local *Report) {
	says, err := v.run(ctx, nil, "--version")
	if err != nil {
		v.find("ssh", Problem, "ssh from this host to "+v.host+" must work without a question, and "+v.exe+" must be there",
			"%s --version: %s", v.exe, err)
		return
	}
	theirs, err := parseVersion(v.exe, says)
	if err != nil {
		v.find("version", Problem, "copy gpdedup to "+v.exe+" there; nothing but a command's own output may appear when the shell starts", "%s --version: %s", v.exe, err)
		return
	}
	if theirs != local.Version {
		v.find("version", Problem, "copy the same program to all hosts", "version %s; on this host it is %s, and gpbackup refuses to start", theirs, local.Version)
	}
	before := time.Now()
	out, err := v.run(ctx, v.data, "doctor", "--json", "--config", "-")
	after := time.Now()
	var remote Report
	if jsonErr := json.Unmarshal([]byte(out), &remote); jsonErr != nil || remote.Time.IsZero() {
		v.find("doctor", Problem, "copy the same program to all hosts", "%s doctor: %v", v.exe, errors.Join(err, jsonErr))
		return
	}
	switch {
	case theirs != local.Version:
	case remote.SHA256 != local.SHA256:
		v.find("version", Warning, "copy the same program to all hosts", "version %s, but another program than on this host (SHA-256 %.12s, here %.12s)", theirs, remote.SHA256, local.SHA256)
	default:
		v.find("version", OK, "", "%s, the same program", theirs)
	}
	for _, f := range remote.Findings {
		f.Host = v.host
		v.findings = append(v.findings, f)
	}
	if remote.Repository != local.Repository && remote.Repository != "" && local.Repository != "" {
		v.find("repository", Problem, "mount the same file system there on all hosts",
			"it is another repository than on this host (id %.8s, here %.8s): the directory is not shared", remote.Repository, local.Repository)
	}
	v.clock(remote.Time, before, after)
}

// clock compares the host's clock with ours. The host looked at it between the two.
func (v *visit) clock(theirs, before, after time.Time) {
	var skew time.Duration
	switch {
	case theirs.Before(before):
		skew = theirs.Sub(before)
	case theirs.After(after):
		skew = theirs.Sub(after)
	}
	if skew.Abs() >= skewLimit {
		v.find("clock", Warning, "have all hosts get their time from the same place (NTP)", "its clock is %s from this host's", skew.Round(time.Second))
	}
}
