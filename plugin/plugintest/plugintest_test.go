package plugintest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// script is plugin_test.sh.
func script(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../plugin_test.sh")
	if err == nil {
		_, err = os.Stat(path) // so that a cached result is of this version
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// buildReference builds the reference plugin.
func buildReference(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "gpbackup_reference_plugin")
	if out, err := exec.Command("go", "build", "-o", exe, "./reference").CombinedOutput(); err != nil {
		t.Fatalf("build reference: %v\n%s", err, out)
	}
	return exe
}

// outcome is what one run of plugin_test.sh said.
type outcome struct {
	passed, failed []string // names of checks
	last           string   // its last line
	status         int
	text           string // everything
	left           []string
}

// run runs sections of plugin_test.sh ("" for all) against the plugin with a defect ("" for none).
func run(t *testing.T, exe, defect, sections string, env ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"store", "replica", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "plugin.yaml")
	secondary := filepath.Join(dir, "secondary.yaml")
	write(t, config, fmt.Sprintf("executablepath: %s\noptions:\n  repository: %s/store\n  replica: %s/replica\n", exe, dir, dir))
	write(t, secondary, fmt.Sprintf("executablepath: %s\noptions:\n  repository: %s/replica\n", exe, dir))

	cmd := exec.Command("bash", script(t), exe, config, secondary)
	cmd.Env = append(os.Environ(), "BROKEN="+defect, "PLUGIN_TEST_SECTIONS="+sections, "TMPDIR="+filepath.Join(dir, "tmp"))
	cmd.Env = append(cmd.Env, env...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o := outcome{status: cmd.ProcessState.ExitCode(), text: string(text)}
	for line := range strings.Lines(o.text) {
		o.last = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(o.last, "ok   "); ok {
			o.passed = append(o.passed, name)
		} else if name, ok := strings.CutPrefix(o.last, "FAIL "); ok {
			name, _, _ = strings.Cut(name, " -- ")
			o.failed = append(o.failed, name)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		o.left = append(o.left, e.Name())
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*", "99*"))
	if err != nil {
		t.Fatal(err)
	}
	o.left = append(o.left, kept...)
	return o
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPluginTest runs plugin_test.sh against the reference plugin, whole and with each defect, and then asks whether
// every check has failed at least once.
func TestPluginTest(t *testing.T) {
	exe := buildReference(t)
	good := run(t, exe, "", "")
	if good.status != 0 || len(good.failed) > 0 {
		t.Fatalf("the reference plugin fails, status %d:\n%s", good.status, good.text)
	}
	if want := fmt.Sprintf("%d passed, 0 failed", len(good.passed)); good.last != want {
		t.Errorf("last line %q, want %q", good.last, want)
	}
	if len(good.left) > 0 {
		t.Errorf("plugin_test.sh leaves %q behind", good.left)
	}

	var mu sync.Mutex
	failures := map[string][]string{} // check: defects that fail it
	t.Run("broken", func(t *testing.T) {
		for _, d := range defects {
			t.Run(d.name, func(t *testing.T) {
				t.Parallel()
				o := run(t, exe, d.name, d.sections, d.env...)
				if o.status != 1 {
					t.Errorf("exit status %d, want 1:\n%s", o.status, o.text)
				}
				if want := fmt.Sprintf("%d passed, %d failed", len(o.passed), len(o.failed)); o.last != want {
					t.Errorf("last line %q, want %q", o.last, want)
				}
				for _, check := range d.checks {
					if !slices.Contains(o.failed, check) {
						t.Errorf("passes with this defect: %s\nfailed: %q", check, o.failed)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for _, check := range o.failed {
					failures[check] = append(failures[check], d.name)
				}
			})
		}
	})
	for _, check := range good.passed {
		if len(failures[check]) == 0 {
			t.Errorf("no defect fails this check: %s", check)
		}
	}
}

// TestDefectsAreTried holds the table and the reference plugin's source together.
func TestDefectsAreTried(t *testing.T) {
	sources, err := filepath.Glob("reference/*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`broken\("([^"]+)"\)`).FindAllStringSubmatch(string(text), -1) {
			named[m[1]] = true
		}
	}
	tried := map[string]bool{}
	for _, d := range defects {
		if tried[d.name] {
			t.Errorf("%s is tried twice", d.name)
		}
		tried[d.name] = true
	}
	if got, want := slices.Sorted(maps.Keys(tried)), slices.Sorted(maps.Keys(named)); !slices.Equal(got, want) {
		t.Errorf("tried %q\nthe reference plugin has %q", got, want)
	}
}

// TestUsage: wrong arguments are told apart from a plugin that fails.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "plugin.yaml")
	write(t, config, "executablepath: /bin/true\noptions: {}\n")
	for name, args := range map[string][]string{
		"no arguments":          {},
		"no configuration":      {"/bin/true"},
		"missing executable":    {filepath.Join(dir, "none"), config},
		"missing config":        {"/bin/true", filepath.Join(dir, "none.yaml")},
		"missing secondary":     {"/bin/true", config, filepath.Join(dir, "none.yaml")},
		"one argument too many": {"/bin/true", config, config, config},
	} {
		cmd := exec.Command("bash", append([]string{script(t)}, args...)...)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%s: exit status %d, want 2: %s", name, cmd.ProcessState.ExitCode(), out)
		}
	}
	cmd := exec.Command("bash", script(t), "/bin/true", config)
	cmd.Env = append(os.Environ(), "PLUGIN_TEST_SECTIONS=nonsense")
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("unknown section: exit status %d, want 2: %s", cmd.ProcessState.ExitCode(), out)
	}
}
