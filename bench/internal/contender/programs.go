//go:build linux

package contender

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// known are the programs, gpdedup first.
func known(gpdedup string) []*Program {
	return []*Program{gpdedupAt(gpdedup), restic(), borg(), kopia()}
}

func gpdedupAt(exe string) *Program {
	return &Program{
		Name: Gpdedup, Settings: "its defaults: compression fastest, encrypted, `stream put`", exe: exe, version: "--version",
		env: func(dir string) []string {
			return []string{"GPDEDUP_REPO=" + dir + "/repo", "GPDEDUP_KEY_FILE=" + dir + "/key", "GPDEDUP_CACHE_DIR=" + dir + "/cache"}
		},
		setUp: [][]string{{"repo", "init", "-q"}},
		put:   func(string) []string { return []string{"stream", "put", "--json", "table"} },
		noted: func(out []byte) (string, error) {
			var report struct {
				Version string `json:"version"`
			}
			err := json.Unmarshal(out, &report)
			return report.Version, err
		},
		get:    func(_, id string) []string { return []string{"stream", "get", "-q", "table@" + id} },
		forget: func(_, id string) []string { return []string{"stream", "delete", "-q", "table@" + id} },
		prune:  []string{"repo", "prune", "--exclusive"},
		check:  []string{"repo", "check"}, checkData: []string{"repo", "check", "--read-data"},
	}
}

func restic() *Program {
	return &Program{
		Name: "restic", Settings: "repository format 2, compression auto, `backup --stdin`", exe: "restic", version: "version",
		obtain: "Debian has it, apt-get install restic",
		env: func(dir string) []string {
			return []string{"RESTIC_REPOSITORY=" + dir + "/repo", "RESTIC_PASSWORD=measure", "RESTIC_CACHE_DIR=" + dir + "/cache"}
		},
		setUp: [][]string{{"-q", "init"}},
		put: func(tag string) []string {
			return []string{"-q", "backup", "--stdin", "--stdin-filename", "table", "--tag", tag}
		},
		get:    func(tag, _ string) []string { return []string{"-q", "dump", "--tag", tag, "latest", "/table"} },
		lookUp: func(tag string) []string { return []string{"-q", "snapshots", "--json", "--tag", tag} },
		noted: func(out []byte) (string, error) {
			var snapshots []struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(out, &snapshots); err != nil {
				return "", err
			}
			if len(snapshots) != 1 {
				return "", fmt.Errorf("%d snapshots of one tag", len(snapshots))
			}
			return snapshots[0].ID, nil
		},
		// By its number: what "forget" takes by a tag is a policy.
		forget: func(_, id string) []string { return []string{"-q", "forget", id} },
		prune:  []string{"-q", "prune", "--max-unused", "0"},
		check:  []string{"-q", "check"}, checkData: []string{"-q", "check", "--read-data"},
	}
}

func borg() *Program {
	return &Program{
		Name: "borg", Settings: "repokey-blake2, compression zstd,1, `create` from standard input", exe: "borg", version: "--version",
		obtain: "Debian has it, apt-get install borgbackup",
		env: func(dir string) []string {
			return []string{"BORG_REPO=" + dir + "/repo", "BORG_PASSPHRASE=measure", "BORG_BASE_DIR=" + dir}
		},
		setUp: [][]string{{"init", "-e", "repokey-blake2"}},
		put: func(tag string) []string {
			return []string{"create", "--compression", "zstd,1", "--stdin-name", "table", "::" + tag, "-"}
		},
		get:    func(tag, _ string) []string { return []string{"extract", "--stdout", "::" + tag} },
		forget: func(tag, _ string) []string { return []string{"delete", "::" + tag} },
		prune:  []string{"compact", "--threshold", "0"},
		check:  []string{"check"}, checkData: []string{"check", "--verify-data"},
	}
}

// kopiaBuilt is where make puts the program.
const kopiaBuilt = "build/bin/kopia"

func kopia() *Program {
	exe := "kopia"
	if _, err := os.Stat(kopiaBuilt); err == nil {
		exe = "./" + kopiaBuilt
	}
	return &Program{
		Name: "kopia", Settings: "compression zstd-fastest, `snapshot create --stdin-file`", exe: exe, version: "--version",
		obtain: "`make " + kopiaBuilt + "` builds it from the sources that the Go module proxy has",
		env: func(dir string) []string {
			return []string{
				"KOPIA_PASSWORD=measure", "KOPIA_CONFIG_PATH=" + dir + "/config", "KOPIA_CACHE_DIRECTORY=" + dir + "/cache", "KOPIA_LOG_DIR=" + dir + "/log",
				"KOPIA_CHECK_FOR_UPDATES=false",
			}
		},
		setUp: [][]string{
			{"repository", "create", "filesystem", "--path", storeDir + "/repo"},
			{"policy", "set", "--global", "--compression", "zstd-fastest"},
		},
		put: func(tag string) []string {
			return []string{"snapshot", "create", "--json", "--no-progress", "--tags", "day:" + tag, "--stdin-file", "table", "/table"}
		},
		noted: func(out []byte) (string, error) {
			var snapshot struct {
				ID   string `json:"id"`
				Root struct {
					Object string `json:"obj"`
				} `json:"rootEntry"`
			}
			if err := json.Unmarshal(out, &snapshot); err != nil {
				return "", err
			}
			if snapshot.Root.Object == "" {
				return "", errors.New("the snapshot has no root")
			}
			return snapshot.Root.Object, nil
		},
		get:    func(_, id string) []string { return []string{"show", id + "/table"} },
		forget: func(_, id string) []string { return []string{"snapshot", "delete", "--delete", id} },
		prune:  []string{"maintenance", "run", "--full", "--safety", "none"},
		check:  []string{"snapshot", "verify"}, checkData: []string{"snapshot", "verify", "--verify-files-percent", "100"},
	}
}
