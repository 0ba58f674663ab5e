package plugin

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// openLog opens the log. One that cannot be written is none: what a call is for
// never depends on it.
func openLog(c *Config, command string, now time.Time) *slog.Logger {
	out := io.Discard
	if path := logPath(c, now); path != "" {
		// The file stays open until the process ends.
		if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
			out = f
		}
	}
	h := slog.NewTextHandler(out, &slog.HandlerOptions{Level: c.LogLevel})
	return slog.New(h).With("pid", os.Getpid(), "command", command)
}

// LogPath returns the file that calls of this day log to, or "" if there is none.
func (c *Config) LogPath(now time.Time) string { return logPath(c, now) }

// logPath is where to log: where gpbackup logs too, unless another place is named.
func logPath(c *Config, now time.Time) string {
	if c.LogFile != "" {
		return c.LogFile
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return ""
	}
	dir := filepath.Join(home, "gpAdminLogs")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return filepath.Join(dir, "gpdedup_"+now.Format("20060102")+".log")
}
