package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/storage/target"
)

// host is one on which all is in order.
type host struct {
	t    *testing.T
	dir  string
	yaml map[string]string // options; "executablepath" is that
	o    Options
	env  map[string]string
	disk func(path string, d *Disk)
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{t: t, dir: dir, env: map[string]string{}, yaml: map[string]string{
		"executablepath": dir + "/bin/gpdedup", "repository": dir + "/repo", "key_file": dir + "/key",
		"cache_dir": dir + "/cache", "log_file": dir + "/log",
	}}
	h.must(os.Mkdir(dir+"/bin", 0o755))
	h.write("bin/gpdedup", "#!/bin/sh\n[ \"$1\" = --version ] && echo gpdedup version 1.0\n", 0o755)
	h.must(repo.CreateKeyFile(dir + "/key"))
	h.init(dir+"/repo", target.Options{}, nil)
	return h
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(name, text string, mode os.FileMode) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	h.must(os.WriteFile(path, []byte(text), mode))
	h.must(os.Chmod(path, mode))
}

func (h *host) init(location string, o target.Options, found *repo.Target) {
	h.t.Helper()
	st, err := target.CreateWith(location, o)
	h.must(err)
	_, err = repo.Init(h.t.Context(), st, repo.InitOptions{Secret: repo.Secret{KeyFile: h.dir + "/key"}, Now: time.Now(), Target: found})
	h.must(err)
	h.must(st.Close())
}

// text is the YAML file.
func (h *host) text() string {
	out := ""
	if exe := h.yaml["executablepath"]; exe != "" {
		out = "executablepath: " + exe + "\n"
	}
	out += "options:\n"
	for name, value := range h.yaml {
		if name != "executablepath" {
			out += "  " + name + ": " + value + "\n"
		}
	}
	return out
}

func (h *host) examine() *Report {
	h.t.Helper()
	h.write("c.yaml", h.text(), 0o644)
	o := h.o
	h.must(o.ReadFile(h.dir+"/c.yaml", nil))
	if h.o.Mode != 0 {
		o.Mode = h.o.Mode
	}
	o.Getenv = func(name string) string { return h.env[name] }
	o.Version, o.Self, o.Now = "1.0", h.dir+"/bin/gpdedup", time.Now()
	if h.disk != nil {
		o.Disk = func(path string) (*Disk, error) {
			d := &Disk{Size: 1 << 40, Free: 1 << 39, Files: 1000, FreeFiles: 500}
			h.disk(path, d)
			return d, nil
		}
	}
	return Run(h.t.Context(), o)
}

func TestHealthyHost(t *testing.T) {
	h := newHost(t)
	h.disk = func(string, *Disk) {}
	r := h.examine()
	if r.Problems != 0 || r.Warnings != 0 || len(r.Repository) != 64 || len(r.SHA256) != 64 || r.Version != "1.0" || r.Time.IsZero() {
		t.Errorf("%+v", r)
	}
	var checks []string
	for _, f := range r.Findings {
		if f.State != OK || f.Fix != "" || f.Says == "" || f.Host != r.Host {
			t.Errorf("%+v", f)
		}
		checks = append(checks, f.Check)
	}
	for _, check := range []string{"configuration", "executable", "log", "cache", "key", "repository", "space", "write", "clock"} {
		if !slices.Contains(checks, check) {
			t.Errorf("no %s in %v", check, checks)
		}
	}
	// It leaves nothing behind.
	if left, err := filepath.Glob(h.dir + "/repo/probe/*/*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if left, err := os.ReadDir(h.dir + "/cache"); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == "doctor" }) {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestEveryCheckFails: what each check is there for.
func TestEveryCheckFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(h *host)
		check string
		state State
		says  string
	}{
		{"unknown option", func(h *host) { h.yaml["repositry"] = "/x" }, "configuration", Problem, `unknown option "repositry"`},
		{"wrong type", func(h *host) { h.yaml["concurrency"] = "[1]" }, "configuration", Problem, "a single value is expected"},
		{"wrong value", func(h *host) { h.yaml["compression"] = "lots" }, "configuration", Problem, "lots"},
		{"two keys", func(h *host) { h.yaml["password_file"] = "/x" }, "configuration", Problem, "both key_file and password_file"},
		{"no repository", func(h *host) { delete(h.yaml, "repository") }, "configuration", Problem, "names no repository"},
		{"no executable", func(h *host) { delete(h.yaml, "executablepath") }, "configuration", Problem, "executablepath is missing"},
		{"others may change it", func(h *host) { h.o.Mode = 0o666 }, "configuration", Problem, "mode is 0666"},
		{"a copy of gpbackup's", func(h *host) { h.yaml["pgport"] = "5432" }, "configuration", Warning, "has pgport"},
		{"replica as a mapping", func(h *host) { h.yaml["replica"] = "{repository: /x}" }, "replica", Problem, "gpbackup reads no such file"},
		{"replica that is missing", func(h *host) { h.yaml["replica"] = "/nosuch.yaml" }, "replica", Problem, "no such file"},
		{"relative executable", func(h *host) { h.yaml["executablepath"] = "bin/gpdedup" }, "executable", Problem, "not an absolute path"},
		{"executable with a blank", func(h *host) { h.yaml["executablepath"] = "/my bin/gpdedup" }, "executable", Problem, "has blanks"},
		{"executable gone", func(h *host) { h.must(os.Remove(h.dir + "/bin/gpdedup")) }, "executable", Problem, "no such file"},
		{"not executable", func(h *host) { h.must(os.Chmod(h.dir+"/bin/gpdedup", 0o644)) }, "executable", Problem, "may not run it"},
		{"replaceable", func(h *host) { h.must(os.Chmod(h.dir+"/bin/gpdedup", 0o777)) }, "executable", Problem, "everybody may change"},
		{"another program", func(h *host) { h.write("bin/gpdedup", "#!/bin/sh\necho hello\n", 0o755) }, "executable", Problem, "no gpdedup"},
		{"a program that fails", func(h *host) { h.write("bin/gpdedup", "#!/bin/sh\nexit 3\n", 0o755) }, "executable", Problem, "exit status 3"},
		{"another version", func(h *host) {
			h.write("bin/other", "#!/bin/sh\necho other version 0.9\n", 0o755)
			h.yaml["executablepath"] = h.dir + "/bin/other"
		}, "executable", Warning, "another program than this one"},
		{"no log directory", func(h *host) { h.yaml["log_file"] = h.dir + "/nosuch/log" }, "log", Warning, "no log is written"},
		{"cache of others", func(h *host) {
			h.must(os.MkdirAll(h.dir+"/cache", 0o700))
			h.must(os.Chmod(h.dir+"/cache", 0o777))
		}, "cache", Warning, "others can change"},
		{"cache is a file", func(h *host) { h.write("cache", "", 0o600) }, "cache", Warning, "not used"},
		{"cache on NFS", func(h *host) {
			h.disk = func(path string, d *Disk) {
				if strings.HasSuffix(path, "/cache") {
					d.Remote = "NFS"
				}
			}
		}, "cache", Warning, "lies on NFS"},
		{"no room for a cache", func(h *host) {
			h.disk = func(path string, d *Disk) {
				if strings.HasSuffix(path, "/cache") {
					d.Free = 1 << 30
				}
			}
		}, "cache", Warning, "1.0 GiB free; the cache may take 4.0 GiB"},
		{"no key file", func(h *host) { h.must(os.Remove(h.dir + "/key")) }, "key", Problem, "no such file"},
		{"key of others", func(h *host) { h.must(os.Chmod(h.dir+"/key", 0o644)) }, "key", Problem, "mode is 0644"},
		{"password", func(h *host) {
			h.write("password", "secret\n", 0o600)
			h.addKey(repo.Secret{PasswordFile: h.dir + "/password"})
			delete(h.yaml, "key_file")
			h.yaml["password_file"] = h.dir + "/password"
		}, "key", Warning, "a tenth of a second"},
		{"another key", func(h *host) {
			h.must(os.Remove(h.dir + "/key"))
			h.must(repo.CreateKeyFile(h.dir + "/key"))
		}, "repository", Problem, "wrong key"},
		{"retired key", func(h *host) { h.retire() }, "repository", Problem, "rotated to epoch 2"},
		{"no key", func(h *host) { delete(h.yaml, "key_file") }, "repository", Problem, "no key was given"},
		{"no repository there", func(h *host) { h.yaml["repository"] = h.dir + "/nosuch" }, "repository", Problem, "no such directory"},
		{"not encrypted", func(h *host) {
			st, err := target.Create(h.dir + "/plain")
			h.must(err)
			_, err = repo.Init(h.t.Context(), st, repo.InitOptions{Now: time.Now()})
			h.must(errors.Join(err, st.Close()))
			delete(h.yaml, "key_file")
			h.yaml["repository"] = h.dir + "/plain"
		}, "repository", Warning, "not encrypted"},
		{"full", func(h *host) { h.disk = func(_ string, d *Disk) { d.Free = 0 } }, "space", Problem, "full"},
		{"nearly full", func(h *host) { h.disk = func(_ string, d *Disk) { d.Free = d.Size / 50 } }, "space", Warning, "20.5 GiB of 1.0 TiB free"},
		{"inodes", func(h *host) { h.disk = func(_ string, d *Disk) { d.FreeFiles = 10 } }, "space", Warning, "only 10 of 1000 inodes"},
		{"read-only", func(h *host) { h.disk = func(_ string, d *Disk) { d.ReadOnly = true } }, "space", Problem, "read-only"},
		{"bucket that may not be written", func(h *host) {
			h.onFake(func(f *s3test.Fake) {
				f.SetHook(func(method, key string) s3test.Fault {
					if method == "PUT" {
						return s3test.Fault{Status: 403, Code: "AccessDenied"}
					}
					return s3test.Fault{}
				})
			})
		}, "write", Problem, "refuses"},
		{"clock of the storage", func(h *host) { h.onFake(func(f *s3test.Fake) { f.Skew = -5 * time.Minute }) }, "clock", Warning, "the storage's clock is"},
		{"clock that S3 refuses", func(h *host) { h.onFake(func(f *s3test.Fake) { f.Skew = -time.Hour }) }, "repository", Problem, "clock"},
		{"listings that are late", func(h *host) { h.onFake(func(f *s3test.Fake) { f.Late = 2 }) }, "write", Problem, "a listing does not show"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			c.spoil(h)
			r := h.examine()
			ok := slices.ContainsFunc(r.Findings, func(f Finding) bool {
				return f.Check == c.check && f.State == c.state && strings.Contains(f.Says, c.says) && f.Fix != ""
			})
			if !ok || c.state == Problem && r.Problems == 0 || c.state == Warning && r.Warnings == 0 {
				t.Errorf("%+v", r)
			}
			if c.state == Warning && r.Problems > 0 {
				t.Errorf("problems: %+v", r)
			}
			if first := r.Sorted()[0]; r.Problems > 0 && first.State != Problem {
				t.Errorf("first: %+v", first)
			}
		})
	}
}

// retire leaves the host with a key that opens the old epoch only.
func (h *host) retire() {
	h.t.Helper()
	h.must(repo.CreateKeyFile(h.dir + "/new"))
	h.addKey(repo.Secret{KeyFile: h.dir + "/new"})
	r := h.open("new")
	defer r.Close()
	_, _, err := r.RotateKeys(h.t.Context(), repo.RotateOptions{Others: repo.KeepOthers, Now: time.Now()})
	h.must(err)
}

func (h *host) open(key string) *repo.Repo {
	h.t.Helper()
	st, err := target.Open(h.dir + "/repo")
	h.must(err)
	r, err := repo.Open(h.t.Context(), st, "write", repo.Options{Secret: repo.Secret{KeyFile: filepath.Join(h.dir, key)}})
	h.must(err)
	return r
}

func (h *host) addKey(secret repo.Secret) {
	h.t.Helper()
	r := h.open("key")
	defer r.Close()
	_, _, err := r.AddKey(h.t.Context(), secret, time.Now())
	h.must(err)
}

// onFake moves the repository to a bucket of a server with a fault.
func (h *host) onFake(prepare func(f *s3test.Fake)) {
	h.t.Helper()
	f := s3test.StartFake(h.t)
	h.init(f.Location("p"), target.Options{Endpoint: f.Endpoint, AccessKey: f.AccessKey, SecretKey: f.SecretKey},
		&repo.Target{ConditionalPut: true, CRC32C: true})
	prepare(f)
	h.yaml["repository"], h.yaml["endpoint"], h.yaml["access_key_id"] = f.Location("p"), f.Endpoint, f.AccessKey
	h.yaml["secret_access_key"] = "env:S3_SECRET"
	h.env["S3_SECRET"] = f.SecretKey
}

func TestParseHosts(t *testing.T) {
	got, err := ParseHosts("sdw1\n# all\n\nsdw2 # new\nsdw1\n10.0.0.3\n")
	if err != nil || !slices.Equal(got, []string{"sdw1", "sdw2", "10.0.0.3"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "# none\n", "-oProxyCommand=x\n", "a b\n"} {
		if got, err := ParseHosts(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestCluster: what other hosts say, and what is compared. Hosts are scripts.
func TestCluster(t *testing.T) {
	h := newHost(t)
	local := h.examine()
	self := "gpdedup version 1.0"
	answer := func(sum, id string, at time.Time, findings string) string {
		return fmt.Sprintf(`{"version":"1.0","sha256":%q,"repository":%q,"time":%q,"findings":[%s]}`, sum, id, at.UTC().Format(time.RFC3339Nano), findings)
	}
	good := answer(local.SHA256, local.Repository, time.Now(), "")
	for _, c := range []struct {
		name, version, doctor string
		check                 string
		state                 State
		says                  string
	}{
		{"good", self, good, "version", OK, "1.0, the same program"},
		{"away", "", "", "ssh", Problem, "Connection refused"},
		{"older", "gpdedup version 0.9", good, "version", Problem, "version 0.9; on this host it is 1.0"},
		{"banner", "Welcome!\n" + self, good, "version", Problem, "no gpdedup"},
		{"build", self, answer("abcdef", local.Repository, time.Now(), ""), "version", Warning, "another program"},
		{"nodoctor", self, "", "doctor", Problem, "doctor: "},
		{"otherrepo", self, answer(local.SHA256, strings.Repeat("7", 64), time.Now(), ""), "repository", Problem, "another repository than on this host"},
		{"late", self, answer(local.SHA256, local.Repository, time.Now().Add(-time.Hour), ""), "clock", Warning, "from this host's"},
		{"sick", self, answer(local.SHA256, "", time.Now(), `{"host":"x","check":"key","state":"problem","says":"no key","fix":"bring it"}`), "key", Problem, "no key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.write("answers", c.doctor, 0o644)
			h.write("version", c.version+"\n", 0o644)
			script := fmt.Sprintf(`#!/bin/sh
[ "$*" = "-o BatchMode=yes -o ConnectTimeout=15 $5 $6" ] && [ "$5" = %[1]s ] || exit 99
case "$5 $6" in
away*) echo "ssh: connect to host away: Connection refused" >&2; exit 255;;
*"gpdedup' --version") cat %[2]s/version;;
*"gpdedup' doctor --json --config -") grep -q executablepath && cat %[2]s/answers; exit 1;;
*) exit 98;;
esac
`, c.name, h.dir)
			h.write("ssh", script, 0o755)
			r := *local
			r.Findings = slices.Clone(local.Findings)
			o := Options{Config: "c.yaml", Data: []byte(h.text())}
			Cluster(t.Context(), &r, o, Hosts{Names: []string{c.name}, SSH: h.dir + "/ssh"})
			theirs := r.Findings[len(local.Findings):]
			if !slices.ContainsFunc(theirs, func(f Finding) bool {
				return f.Host == c.name && f.Check == c.check && f.State == c.state && strings.Contains(f.Says, c.says) && (f.Fix != "" || c.state == OK)
			}) {
				t.Errorf("%+v", theirs)
			}
			if (r.Problems > local.Problems) != (c.state == Problem) || (r.Warnings > local.Warnings) != (c.state == Warning) {
				t.Errorf("%d problems, %d warnings", r.Problems, r.Warnings)
			}
		})
	}
	if got := shellPath("~/b'in/gpdedup"); got != `~/'b'\''in/gpdedup'` {
		t.Error(got)
	}
}
