package plugin

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
)

func TestParseConfig(t *testing.T) {
	c, err := parseConfig([]byte(`executablepath: $HOME/bin/gpbackup_dedup
options:
  repository: /repo
  key_file: "/etc/key"
  namespace: 0x10
  cache_dir: /cache
  compression: off
  concurrency: "2"
  log_file: /log
  log_level: debug
  transcode: off
  password_file: ""
  password_command:
  pgport: "6000"
  backup_plugin_version: ""
  restore_subset: on
  password_encryption: on
  gpbackup_dedup: secret
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Executable: "$HOME/bin/gpbackup_dedup", Repository: "/repo", Secret: repo.Secret{KeyFile: "/etc/key"},
		Namespace: "0x10", CacheDir: "/cache", Compression: compress.Off, Concurrency: 2,
		LogFile: "/log", LogLevel: slog.LevelDebug, KeepWrapping: true,
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got  %+v\nwant %+v", *c, want)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, x := range []struct{ text, says string }{
		{"", "empty"},
		{"just words", "not a list"},
		{"- a\n- b\n", "not a list"},
		{"options: {}\n---\noptions: {}\n", "more than one"},
		{"options:\n  repository: /a\n bad", ""},
		{"options: [1]\n", "options is not"},
		{"options: words\n", "options is not"},
		{"colour: red\n", `unknown key "colour"`},
		{"options: {}\noptions: {}\n", "twice"},
		{"options:\n  repository: /a\n  repository: /b\n", "twice"},
		{"options:\n  repository: {a: b}\n", "single value"},
		{"options:\n  repository: [a]\n", "single value"},
		{"options:\n  ? [a]\n  : b\n", "name is expected"},
		{"options:\n  repositroy: /a\n", "known are access_key_id, ca_file, cache_dir, compression, concurrency, delta, endpoint, key_file, limit_download, limit_upload, log_file, log_level, metrics_file, namespace, password_command, password_file, path_style, patience, region, replica, repository, restore_subset, secret_access_key, session_token, storage_class, transcode"},
		{"options:\n  other_plugin: secret\n", "unknown option"},
		{"options:\n  repository: here\n", "not an absolute path"},
		{"options:\n  repository: ~/here\n", "not an absolute path"},
		{"options:\n  key_file: key\n", "not an absolute path"},
		{"options:\n  password_file: key\n", "not an absolute path"},
		{"options:\n  cache_dir: cache\n", "not an absolute path"},
		{"options:\n  log_file: log\n", "not an absolute path"},
		{"options:\n  log_level: loud\n", "log_level"},
		{"options:\n  compression: lots\n", "compression"},
		{"options:\n  concurrency: many\n", "concurrency"},
		{"options:\n  concurrency: 0\n", "concurrency"},
		{"options:\n  transcode: maybe\n", `"maybe" is not on or off`},
		{"options:\n  key_file: /a\n  password_file: /b\n", "both key_file and password_file"},
		{"options:\n  replica: there.yaml\n", "not an absolute path"},
		{"options:\n  replica: [a]\n", "single value"},
		{"options:\n  replica:\n    repository: here\n", "not an absolute path"},
		{"options:\n  replica:\n    pgport: 1\n", "replica: unknown option"},
		{"options:\n  replica:\n    replica: /there.yaml\n", "unknown option"},
		{"options:\n  replica:\n    key_file: /a\n    password_file: /b\n", "both key_file and password_file"},
	} {
		if c, err := parseConfig([]byte(x.text), "gpdedup"); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%q: got %+v, error %v; want one with %q", x.text, c, err, x.says)
		}
	}
}

func TestLoadConfigIsUsage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if _, err := LoadConfig(path); !errors.Is(err, repo.ErrUsage) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("#", maxConfig+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path); !errors.Is(err, repo.ErrUsage) {
		t.Errorf("huge file: %v", err)
	}
	if _, err := LoadConfig(filepath.Dir(path)); !errors.Is(err, repo.ErrUsage) {
		t.Errorf("directory: %v", err)
	}
}

func TestComplete(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/caches")
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	all := env("GPDEDUP_REPO", "/env", "GPDEDUP_NAMESPACE", "env", "GPDEDUP_CACHE_DIR", "/env/cache", "GPDEDUP_PASSWORD", "pw")
	for _, x := range []struct {
		name   string
		config Config
		env    func(string) string
		want   Config
		bad    string
	}{
		{"defaults", Config{Repository: "/r"}, env(), Config{Repository: "/r", Namespace: "default", CacheDir: "/caches/gpdedup"}, ""},
		{"environment fills", Config{}, all, Config{Repository: "/env", Namespace: "env", CacheDir: "/env/cache", Secret: repo.Secret{Password: "pw"}}, ""},
		{
			"file wins",
			Config{Repository: "/r", Namespace: "n", CacheDir: "/c", Secret: repo.Secret{KeyFile: "/k"}},
			all,
			Config{Repository: "/r", Namespace: "n", CacheDir: "/c", Secret: repo.Secret{KeyFile: "/k"}},
			"",
		},
		{"no repository", Config{}, env(), Config{}, "option repository is missing"},
		{"relative", Config{}, env("GPDEDUP_REPO", "here"), Config{}, "GPDEDUP_REPO"},
		{"two keys", Config{Repository: "/r"}, env("GPDEDUP_PASSWORD", "a", "GPDEDUP_KEY_FILE", "/b"), Config{}, "both GPDEDUP_KEY_FILE and GPDEDUP_PASSWORD"},
	} {
		c := x.config
		err := c.Complete(x.env)
		if x.bad != "" {
			if !errors.Is(err, repo.ErrUsage) || !strings.Contains(err.Error(), x.bad) {
				t.Errorf("%s: error %v", x.name, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(c, x.want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", x.name, err, c, x.want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("executablepath: /x/y\noptions:\n  repository: &a /r\n  namespace: *a\n  concurrency: 3\n"))
	f.Add([]byte("options: {repository: /r, <<: {a: b}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data, "gpdedup")
		if err != nil {
			return
		}
		for _, path := range []string{c.Secret.KeyFile, c.Secret.PasswordFile, c.CacheDir, c.LogFile} {
			if path != "" && !filepath.IsAbs(path) {
				t.Errorf("accepted %q", path)
			}
		}
	})
}
