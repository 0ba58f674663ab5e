package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// errConflict says that a name is taken by other content; the exit status is 3.
var errConflict = errors.New("stored already, with other content")

// broken reports whether the plugin was asked to have this defect.
func broken(defect string) bool { return os.Getenv("BROKEN") == defect }

func main() {
	if broken("stderr-noise") {
		fmt.Fprintln(os.Stderr, "warning: all is well")
	}
	if broken("hangs") {
		time.Sleep(time.Hour)
	}
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	switch {
	case broken("fails-silently"):
	case broken("fails-at-length"):
		fmt.Fprintln(os.Stderr, strings.Repeat("something is wrong\n", 5000))
	default:
		fmt.Fprintln(os.Stderr, "reference:", err)
	}
	if errors.Is(err, errConflict) {
		os.Exit(3)
	}
	os.Exit(1)
}

// run does one call of the plugin; args begin with the command.
func run(args []string) error {
	if len(args) == 0 {
		if broken("no-command-ok") {
			return nil
		}
		return errors.New("no command")
	}
	command, args := args[0], args[1:]
	switch command {
	case "plugin_api_version":
		return printAPIVersion()
	case "--version":
		return printVersion()
	}
	known, ok := commands[command]
	if !ok {
		if broken("unknown-command-ok") {
			return nil
		}
		return fmt.Errorf("unknown command %s", command)
	}
	if len(args) < known.min || len(args) > known.max {
		if broken("missing-argument-ok") {
			return nil
		}
		return fmt.Errorf("%s takes %d to %d arguments", command, known.min, known.max)
	}
	s, err := open(args[0])
	if err != nil {
		return err
	}
	if broken("holds-stderr") {
		holdStderr()
	}
	if broken("stdout-noise") {
		fmt.Println("called", command)
	}
	if broken("litter") {
		_ = os.WriteFile("core", nil, 0o600)
	}
	return known.run(s, command, args[1:])
}

type command struct {
	min, max int // arguments, the configuration included
	run      func(s *store, command string, args []string) error
}

var commands = map[string]command{
	"setup_plugin_for_backup":    {2, 4, hook},
	"setup_plugin_for_restore":   {2, 4, hook},
	"cleanup_plugin_for_backup":  {2, 4, hook},
	"cleanup_plugin_for_restore": {2, 4, hook},
	"backup_file":                {2, 2, backupFile},
	"restore_file":               {2, 2, restoreFile},
	"backup_data":                {2, 2, backupData},
	"restore_data":               {2, 2, restoreData},
	"restore_data_subset":        {3, 3, restoreSubset},
	"delete_backup":              {2, 2, deleteBackup},
	"list_directory":             {1, 2, listDirectory},
	"delete_directory":           {2, 2, deleteDirectory},
	"replicate_backup":           {2, 2, replicateBackup},
	"delete_replica":             {2, 2, deleteReplica},
}

func printAPIVersion() error {
	switch {
	case broken("api-version-noise"):
		fmt.Println("plugin API version:")
		fmt.Println("0.5.0")
	case broken("api-version-old"):
		fmt.Println("0.2.9")
	case broken("api-version-short"):
		fmt.Println("0.5")
	default:
		fmt.Println("0.5.0")
	}
	return nil
}

func printVersion() error {
	if broken("version-needs-home") && os.Getenv("HOME") == "" {
		return errors.New("no home directory")
	}
	if broken("version-two-words") {
		fmt.Println("gpbackup_reference_plugin 1.0.0")
		return nil
	}
	fmt.Println("gpbackup_reference_plugin version 1.0.0")
	return nil
}

// holdStderr leaves a child that outlives the call and has its stderr.
func holdStderr() {
	child := exec.Command("sleep", "6")
	child.Stderr = os.Stderr
	_ = child.Start()
}

// open reads the configuration; options of other plugins and of gpbackup itself are none of its business.
func open(config string) (*store, error) {
	text, err := os.ReadFile(config)
	if err != nil {
		if broken("missing-config-ok") {
			os.Exit(0)
		}
		return nil, err
	}
	var parsed struct {
		ExecutablePath string            `yaml:"executablepath"`
		Options        map[string]string `yaml:"options"`
	}
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		return nil, fmt.Errorf("read %s: %w", config, err)
	}
	if parsed.Options["repository"] == "" {
		return nil, fmt.Errorf("read %s: no option repository", config)
	}
	if _, injected := parsed.Options["pgport"]; injected && broken("refuses-injected-options") {
		return nil, fmt.Errorf("read %s: unknown option pgport", config)
	}
	return &store{root: parsed.Options["repository"], replica: parsed.Options["replica"]}, nil
}

// hook is any setup or cleanup command: nothing is to be done, whatever the scope.
func hook(s *store, command string, args []string) error {
	dir, rest := args[0], args[1:]
	ts := filepath.Base(dir)
	id := ""
	if len(rest) > 1 {
		id = rest[1]
	}
	cleanup := strings.HasPrefix(command, "cleanup")
	switch {
	case broken("hook-refuses-quoted-id") && strings.Contains(id, `"`):
		return fmt.Errorf("content id %s is no number", id)
	case broken("hook-refuses-plain-id") && id != "" && !strings.Contains(id, `"`):
		return fmt.Errorf("content id %s is not quoted", id)
	case broken("hook-refuses-missing-id") && id == "" && rest[0] != "segment_host":
		return errors.New("no content id")
	case broken("hook-refuses-missing-id-on-host") && id == "":
		return errors.New("no content id")
	case broken("hook-refuses-coordinator") && rest[0] == "coordinator":
		return errors.New("unknown scope coordinator")
	case broken("hook-refuses-master") && rest[0] == "master":
		return errors.New("unknown scope master")
	case broken("hook-not-repeatable"):
		return exclusive(filepath.Join(s.root, fmt.Sprintf("%s-%s-%s", command, ts, strings.Join(rest, "-"))))
	case broken("hook-not-concurrent"):
		name := filepath.Join(s.root, command)
		if err := exclusive(name); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
		return os.Remove(name)
	case broken("hook-needs-directory"):
		_, err := os.Stat(dir)
		return err
	case broken("cleanup-deletes") && cleanup:
		return os.RemoveAll(filepath.Join(s.root, ts))
	case broken("hooks-after-delete-fail") && cleanup:
		_, err := os.Stat(filepath.Join(s.root, ts))
		return err
	}
	return nil
}

// exclusive makes a file that must not be there yet.
func exclusive(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is running already", name)
	}
	if err != nil {
		return err
	}
	return f.Close()
}
