package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// Server is what Check needs of the server whose archive it checks.
type Server interface {
	// Settings returns archive_mode and archive_command.
	Settings(ctx context.Context) (mode, command string, err error)
	// DataDirectory returns where the server's files are, and its system identifier.
	DataDirectory(ctx context.Context) (dir string, system SystemID, err error)
	// SwitchWAL ends the current segment after writing something into it, and
	// returns its name.
	SwitchWAL(ctx context.Context) (file string, err error)
	// LastFailure returns which file could not be archived last, and "" if all could.
	LastFailure(ctx context.Context) (file string, err error)
}

// CheckReport says how archiving a segment went.
type CheckReport struct {
	File     string  `json:"file"`
	System   string  `json:"system_identifier"`
	Seconds  float64 `json:"seconds"`  // from the end of the segment until it was in the repository
	Stored   int64   `json:"stored"`   // bytes
	Compared bool    `json:"compared"` // with the server's own copy, which was still there
}

// Check has the server end a segment, waits until ctx ends for its archive_command to
// store it, reads it back, and compares it with the server's own.
func (a *Archive) Check(ctx context.Context, server Server) (*CheckReport, error) {
	mode, command, err := server.Settings(ctx)
	if err != nil {
		return nil, err
	}
	if mode == "off" {
		return nil, repo.WithHint(fmt.Errorf("%w: the server archives nothing: archive_mode is off", repo.ErrUsage), "set archive_mode = on and start the server anew")
	}
	dir, system, err := server.DataDirectory(ctx)
	if err != nil {
		return nil, err
	}
	file, err := server.SwitchWAL(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	name, err := ParseName(file)
	if err != nil {
		return nil, err
	}
	info, data, err := a.await(ctx, system, name)
	if err != nil {
		return nil, a.explainCheck(server, file, command, err)
	}
	report := &CheckReport{File: file, System: system.Decimal(), Seconds: time.Since(began).Seconds()}
	for _, b := range info.boxes {
		report.Stored += int64(b)
	}
	report.Stored += metaEnd
	for _, sub := range []string{"pg_wal", "pg_xlog"} {
		own, err := os.ReadFile(filepath.Join(dir, sub, file))
		if err != nil {
			continue // used again already, or on another host
		}
		if !bytes.Equal(own, data) {
			// It may have been renamed and used again between the two looks at it.
			if h, err := ParsePageHeader(own); err == nil && h.Check(name, int64(len(own))) == nil {
				return nil, fmt.Errorf("%w: %s in the archive is not what the server has", repo.ErrDamaged, file)
			}
			continue
		}
		report.Compared = true
	}
	return report, nil
}

// await reads a file as soon as it is there.
func (a *Archive) await(ctx context.Context, epoch SystemID, name Name) (*Info, []byte, error) {
	for {
		info, data, err := a.Get(ctx, epoch, name)
		if !errors.Is(err, ErrAbsent) {
			return info, data, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// explainCheck says why a segment may not have come.
func (a *Archive) explainCheck(server Server, file, command string, err error) error {
	if !errors.Is(err, ErrAbsent) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), RequestLimit)
	defer cancel()
	hint := fmt.Sprintf("look into the server's log; archive_command is: %s", command)
	if failed, ferr := server.LastFailure(ctx); ferr == nil && failed != "" {
		hint = fmt.Sprintf("the server could not archive %s; its log says why. archive_command is: %s", failed, command)
	}
	return repo.WithHint(fmt.Errorf("the server did not archive %s: %w", file, err), hint)
}
