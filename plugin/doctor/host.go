package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/plugin"
)

// configuration reads the YAML, and reports whether there is more to look at.
func (x *examination) configuration() bool {
	const check = "configuration"
	config, err := load(&x.o)
	if err != nil {
		x.fail(check, err, "correct "+x.o.Config+"; docs/gpbackup.md has all options")
		return false
	}
	if config.Executable == "" {
		x.find(check, Problem, "add 'executablepath: /path/of/gpdedup'", "%s: executablepath is missing, which gpbackup needs", x.o.Config)
	}
	if x.o.Mode&0o022 != 0 {
		x.find(check, Problem, "chmod go-w "+x.o.Config,
			"%s: its mode is %04o: whoever changes it decides which program gpbackup runs, and where backups go", x.o.Config, x.o.Mode.Perm())
	}
	if left := x.leftovers(); len(left) > 0 {
		x.find(check, Warning, "give gpbackup the file that you wrote, and remove these options from it",
			"%s has %s, which gpbackup adds itself: is it a copy that gpbackup left behind?", x.o.Config, strings.Join(left, " and "))
	}
	x.replica(config)
	if err := config.Complete(x.o.Getenv); err != nil {
		x.fail(check, err, "correct "+x.o.Config+", or the environment of gpbackup")
		return false
	}
	x.config = config
	if !slices.ContainsFunc(x.report.Findings, func(f Finding) bool { return f.State == Problem }) {
		x.find(check, OK, "", "%s: namespace %s", x.o.Config, config.Namespace)
	}
	return true
}

// leftovers returns the options that gpbackup writes into its copies of the file.
func (x *examination) leftovers() (found []string) {
	var file struct {
		Options map[string]any `yaml:"options"`
	}
	if yaml.Unmarshal(x.o.Data, &file) != nil {
		return nil // what is wrong with it was said
	}
	for _, name := range []string{"backup_plugin_version", "pgport"} {
		if _, ok := file.Options[name]; ok {
			found = append(found, name)
		}
	}
	return found
}

// replica reads the configuration of the replica, if there is one.
func (x *examination) replica(config *plugin.Config) {
	const check = "replica"
	switch {
	case config.Replica == nil:
	case config.Replica.Path == "":
		x.find(check, Problem, "write what it says into a file of its own, and name that: 'replica: /path/of/replica.yaml'",
			"%s: the option replica has options of its own, and gpbackup reads no such file", x.o.Config)
	default:
		if _, err := plugin.LoadConfig(config.Replica.Path); err != nil {
			x.fail(check, err, "correct "+config.Replica.Path+"; it must be there on every host")
			return
		}
		x.find(check, OK, "", "%s", config.Replica.Path)
	}
}

// expandExecutable does with executablepath what gpbackup and the shell do.
func expandExecutable(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// executable looks at what gpbackup will run.
func (x *examination) executable() {
	const check = "executable"
	if x.config.Executable == "" {
		return // was said
	}
	path := expandExecutable(x.config.Executable)
	if !filepath.IsAbs(path) {
		x.find(check, Problem, "give the whole path", "executablepath: %q is not an absolute path, and gpbackup refuses it", x.config.Executable)
		return
	}
	if strings.ContainsAny(path, " \t'\"`\\*?;&|<>()") {
		x.find(check, Problem, "choose a path without them", "executablepath: %q has blanks, or what a shell understands: gpbackup does not quote it", path)
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		x.fail(check, err, "copy gpdedup to "+path+" on this host")
		return
	}
	if !info.Mode().IsRegular() || unix.Access(path, unix.X_OK) != nil {
		x.find(check, Problem, "chmod 755 "+path, "%s: this user may not run it (mode %04o)", path, info.Mode().Perm())
		return
	}
	if who := others(info); who != "" {
		state := Warning
		if info.Mode().Perm()&0o002 != 0 {
			state = Problem
		}
		x.find(check, state, "chmod 755 "+path+", and have it belong to root or to this user",
			"%s: %s may change the program that sees all data and the key (mode %04o)", path, who, info.Mode().Perm())
	}
	says, err := versionOf(x.ctx, path)
	if err != nil {
		x.find(check, Problem, "copy gpdedup to "+path+" on this host", "%s --version: %s", path, err)
		return
	}
	x.exe = path
	x.report.Version = says
	if x.report.SHA256, err = checksum(path); err != nil {
		x.find(check, Warning, "let this user read it", "%s", err)
	}
	if self, err := checksum(x.o.Self); err == nil && self != x.report.SHA256 {
		x.find(check, Warning, "run "+path+" doctor, or copy this program there", "%s is version %s, and another program than this one (version %s)", path, says, x.o.Version)
		return
	}
	x.find(check, OK, "", "%s, version %s", path, says)
}

// others says who else than this user and root may write to a file.
func others(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Perm()&0o002 != 0:
		return "everybody"
	case info.Mode().Perm()&0o020 != 0 && ok && st.Gid != 0:
		return "its group"
	case ok && st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("its owner, user %d,", st.Uid)
	}
	return ""
}

// versionOf returns what the executable says of its version, after a check that it
// says it as gpbackup reads it: three words.
func versionOf(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	return parseVersion(path, string(out))
}

func parseVersion(path, line string) (string, error) {
	words := strings.Fields(line)
	if len(words) != 3 || words[1] != "version" || words[0] != filepath.Base(path) || strings.Count(strings.TrimSpace(line), "\n") > 0 {
		return "", fmt.Errorf("it is no gpdedup: it prints %.60q", line)
	}
	return words[2], nil
}

// log looks at where calls of the plugin log to.
func (x *examination) log() {
	const check = "log"
	path := x.config.LogPath(x.o.Now)
	if path == "" {
		x.find(check, Warning, "make ~/gpAdminLogs, or set the option log_file", "no log is written: there is no ~/gpAdminLogs, and log_file is not set")
		return
	}
	target := path
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		target = filepath.Dir(path)
		_, err = os.Stat(target)
	}
	if err == nil {
		err = unix.Access(target, unix.W_OK)
	}
	if err != nil {
		x.find(check, Warning, "make "+filepath.Dir(path)+" and let this user write there", "no log is written: %s: %s", target, cause(err))
		return
	}
	x.find(check, OK, "", "%s", path)
}

// cause is an error without the path, which is said already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
