package base

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// TestSettings: exactly one target is set, and what earlier restores have left is gone.
func TestSettings(t *testing.T) {
	at := time.Date(2026, 11, 22, 14, 29, 0, 123456000, time.FixedZone("", 3600))
	backup := &Backup{Name: repo.Name{Item: "a\nb"}, Info: &Info{ServerVersion: "15"}}
	for _, c := range []struct {
		target Target
		want   string
		signal string
	}{
		{Target{Kind: Latest}, "", "recovery.signal"},
		{Target{Kind: Immediate}, "recovery_target = 'immediate'", "recovery.signal"},
		{Target{Kind: AtTime, Time: at}, "recovery_target_time = '2026-11-22 13:29:00.123456+00'", "recovery.signal"},
		{Target{Kind: AtLSN, LSN: 0x1600000028}, "recovery_target_lsn = '16/28'", "recovery.signal"},
		{Target{Kind: AtName, Text: "it's"}, "recovery_target_name = 'it''s'", "recovery.signal"},
		{Target{Kind: AtXID, Text: "77"}, "recovery_target_xid = '77'", "recovery.signal"},
		{Target{Kind: Latest, Standby: true}, "", "standby.signal"},
	} {
		s := Settings{RestoreCommand: "gpdedup wal fetch %f %p"}
		conf, signal := s.render(&Plan{Backup: backup, Target: c.target, Timeline: "latest", Archive: true})
		var targets []string
		for line := range strings.Lines(string(conf)) {
			name, _, _ := strings.Cut(line, " ")
			switch name {
			case "recovery_target", "recovery_target_time", "recovery_target_lsn", "recovery_target_name", "recovery_target_xid":
				targets = append(targets, strings.TrimSpace(line))
			case "#", "restore_command", "recovery_target_inclusive", "recovery_target_timeline", "recovery_target_action":
			default:
				t.Errorf("a line of its own: %q", line)
			}
		}
		if strings.Join(targets, "\n") != c.want || signal != c.signal {
			t.Errorf("%+v: %q, %s", c.target, targets, signal)
		}
	}
	old := "# Do not edit\nwork_mem = '1MB'\nrecovery_target_time = 'x'\n Restore_Command='y'\nrecovery_init_sync_method = 'syncfs'"
	if got := string(withoutRecovery([]byte(old))); got != "# Do not edit\nwork_mem = '1MB'\nrecovery_init_sync_method = 'syncfs'" {
		t.Errorf("%q", got)
	}
}

// TestShellWord: the shell, after the server, sees the word again.
func TestShellWord(t *testing.T) {
	for _, word := range []string{"plain", "/a b/c", "it's", `back\slash`, "$HOME", "100%", "%f", "", "*", "a;b", "ü"} {
		quoted := strings.ReplaceAll(ShellWord(word), "%%", "%") // as the server does
		out, err := exec.Command("sh", "-c", "printf %s "+quoted).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q: %q, %v", word, out, err)
		}
	}
}
