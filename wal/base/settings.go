package base

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Settings are what a recovered server is told beside its target.
type Settings struct {
	RestoreCommand string // with %f and %p
	Action         string // recovery_target_action: promote, pause or shutdown
	NoArchive      bool   // archive_mode = off: for a copy that must not write to the archive
}

// timeLayout is understood by every server whatever its settings.
const timeLayout = "2006-01-02 15:04:05.999999-07"

// render returns the lines for postgresql.auto.conf and the name of the signal file, ""
// if the server is to start as if nothing had been.
func (s *Settings) render(p *Plan) (conf []byte, signal string) {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%s = %s\n", name, quoteLiteral(value)) }
	fmt.Fprintf(&b, "# by gpdedup base restore, of base backup %s\n", strings.Map(printable, p.Backup.Name.Item))
	if s.NoArchive {
		line("archive_mode", "off")
	}
	if !p.Archive && !p.Target.Standby {
		// Its WAL came with it, and that is all there is.
		return []byte(b.String()), ""
	}
	line("restore_command", s.RestoreCommand)
	for _, t := range []struct {
		name  string
		kind  Kind
		value string
	}{
		{"recovery_target", Immediate, "immediate"},
		{"recovery_target_time", AtTime, p.Target.Time.UTC().Format(timeLayout)},
		{"recovery_target_lsn", AtLSN, p.Target.LSN.String()},
		{"recovery_target_name", AtName, p.Target.Text},
		{"recovery_target_xid", AtXID, p.Target.Text},
	} {
		if t.kind == p.Target.Kind {
			line(t.name, t.value) // of several that are set, even to nothing, a server complains
		}
	}
	inclusive := "on"
	if p.Target.Exclusive {
		inclusive = "off"
	}
	line("recovery_target_inclusive", inclusive)
	line("recovery_target_timeline", p.Timeline)
	action := s.Action
	if action == "" {
		action = "promote"
	}
	line("recovery_target_action", action)
	// From 15 on a server asks for WAL ahead of what it replays, and would find that it is
	// missing before it gets to the target.
	if v, err := strconv.Atoi(p.Backup.Info.ServerVersion); p.Gap && err == nil && v >= 15 {
		line("recovery_prefetch", "off")
	}
	if p.Target.Standby {
		return []byte(b.String()), "standby.signal"
	}
	return []byte(b.String()), "recovery.signal"
}

// withoutRecovery returns postgresql.auto.conf without what is said in it about a
// recovery: an earlier restore, or the making of a standby, has left it there.
func withoutRecovery(conf []byte) []byte {
	var out []byte
	for line := range bytes.Lines(conf) {
		name := strings.ToLower(strings.TrimLeft(string(line), " \t"))
		if !strings.HasPrefix(name, "recovery_target") && !strings.HasPrefix(name, "restore_command") {
			out = append(out, line...)
		}
	}
	return out
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// ShellWord quotes a word for the shell that restore_command is run by. A percent sign
// is doubled, because the server replaces what follows one.
func ShellWord(word string) string {
	word = strings.ReplaceAll(word, "%", "%%")
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("%+,-./:=@_", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
