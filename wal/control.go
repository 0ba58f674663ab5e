package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"
)

// ErrControl: a pg_control file is none, or is damaged.
var ErrControl = errors.New("not a valid pg_control file")

// Control is what the archive needs of a cluster's pg_control.
type Control struct {
	System  SystemID
	Version uint32 // of the file: 1300 for PostgreSQL 13 to 17
}

// ControlPath returns where the control file of the cluster at pgdata is.
func ControlPath(pgdata string) string { return filepath.Join(pgdata, "global", "pg_control") }

// ReadControl reads the control file of the cluster at pgdata. Where there is none the
// error wraps fs.ErrNotExist.
func ReadControl(pgdata string) (Control, error) {
	path := ControlPath(pgdata)
	for try := 1; ; try++ {
		data, err := os.ReadFile(path)
		if err != nil {
			return Control{}, fmt.Errorf("read control file: %w", err)
		}
		c, err := ParseControl(data)
		if err == nil {
			return c, nil
		}
		if try == controlTries {
			return Control{}, fmt.Errorf("read control file %s: %w", path, err)
		}
		// The server may be writing it at this moment.
		time.Sleep(10 * time.Millisecond)
	}
}

const controlTries = 10

// controlBytes is how much of the file is written at once, and so cannot be torn.
const controlBytes = 512

// ParseControl reads a control file of any version, of PostgreSQL or what derives from
// it, on a little-endian machine. Its length differs from version to version, so the
// end is found as the place where the checksum of everything before it stands.
func ParseControl(data []byte) (Control, error) {
	const (
		fixed    = 40 // identifier, versions, state, time, checkpoint: in every version
		maxState = 16
	)
	data = data[:min(len(data), controlBytes)]
	if len(data) < fixed+4 {
		return Control{}, fmt.Errorf("%w: %d bytes long", ErrControl, len(data))
	}
	c := Control{System: SystemID(binary.LittleEndian.Uint64(data)), Version: binary.LittleEndian.Uint32(data[8:])}
	if c.System == 0 || binary.LittleEndian.Uint32(data[16:]) > maxState {
		return Control{}, fmt.Errorf("%w: system identifier %d", ErrControl, c.System)
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum(data[:fixed], table)
	for at := fixed; at+4 <= len(data); at += 4 {
		if sum == binary.LittleEndian.Uint32(data[at:]) {
			return c, nil
		}
		sum = crc32.Update(sum, table, data[at:at+4])
	}
	return Control{}, fmt.Errorf("%w: its checksum is wrong", ErrControl)
}
