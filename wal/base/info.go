package base

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// infoName is the last member of the stream: an Info.
const infoName = ".gpdedup/backup.json"

// infoVersion is raised when a reader that does not know what is new would go wrong.
const infoVersion = 1

// Info is what there is to know of a base backup.
type Info struct {
	Version       int          `json:"version"`
	Label         string       `json:"label"`
	System        string       `json:"system_identifier"` // decimal
	ServerVersion string       `json:"server_version"`    // of the data directory: PG_VERSION
	SegmentSize   uint32       `json:"segment_size"`      // of the WAL, in bytes
	Timeline      uint32       `json:"timeline"`          // on which it ended
	Start         string       `json:"start"`             // address of the WAL from which on a recovery goes
	Stop          string       `json:"stop"`              // address at which it is consistent
	WAL           []WALRange   `json:"wal"`               // that it needs for that; one, or more if timelines changed
	WALIncluded   bool         `json:"wal_included"`      // the stream has it
	FromStandby   bool         `json:"from_standby"`
	Started       time.Time    `json:"started"` // by the clock of the host that pushed it, as is the next
	Stopped       time.Time    `json:"stopped"` // not before the server was done
	Tablespaces   []Tablespace `json:"tablespaces"`
	Files         int          `json:"files"`
	Bytes         int64        `json:"bytes"`    // of the files
	Manifest      Span         `json:"manifest"` // where in the stream backup_manifest's content is
}

// Tablespace is one that is not the data directory itself.
type Tablespace struct {
	OID  string `json:"oid"`
	Path string `json:"path"` // where it was
}

// Span is a part of the stream, in bytes.
type Span struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Epoch returns the system identifier.
func (i *Info) Epoch() (wal.SystemID, error) { return wal.ParseSystemID(i.System) }

// Points returns the addresses from and to which the backup needs WAL.
func (i *Info) Points() (start, stop wal.LSN, err error) {
	if start, err = wal.ParseLSN(i.Start); err == nil {
		stop, err = wal.ParseLSN(i.Stop)
	}
	return start, stop, err
}

// Segments returns the names of all segments that make the backup consistent, the
// earliest first.
func (i *Info) Segments() ([]wal.Name, error) {
	if i.SegmentSize < wal.MinSegmentSize {
		return nil, fmt.Errorf("%w: segments of %d bytes", repo.ErrDamaged, i.SegmentSize)
	}
	var names []wal.Name
	for k := range i.WAL {
		r := &i.WAL[k]
		start, stop, err := r.addresses()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", repo.ErrDamaged, err)
		}
		if uint64(stop-start)/uint64(i.SegmentSize) > maxSegments {
			return nil, fmt.Errorf("%w: it needs WAL from %s to %s", repo.ErrDamaged, r.Start, r.Stop)
		}
		for n := uint64(start) / uint64(i.SegmentSize); n <= (uint64(stop)-1)/uint64(i.SegmentSize); n++ {
			names = append(names, wal.SegmentName(r.Timeline, n, i.SegmentSize))
		}
	}
	return names, nil
}

// maxSegments bounds the WAL that a backup may need: 16 TB of segments of 16 MiB.
const maxSegments = 1 << 20

// First returns the segment from which on WAL is needed.
func (i *Info) First() (wal.Name, error) {
	names, err := i.Segments()
	if err != nil {
		return wal.Name{}, err
	}
	return names[0], nil
}

// parseInfo reads the JSON of an Info.
func parseInfo(data []byte) (*Info, error) {
	i := &Info{}
	if err := json.Unmarshal(data, i); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", repo.ErrDamaged, infoName, err)
	}
	if i.Version != infoVersion {
		return nil, fmt.Errorf("%s of version %d: %w", infoName, i.Version, repo.ErrNewer)
	}
	_, _, err := i.Points()
	if err == nil {
		_, err = i.Epoch()
	}
	if err == nil && (len(i.WAL) == 0 || i.Manifest.Offset < 0 || i.Manifest.Length <= 0) {
		err = errors.New("it does not say where backup_manifest is, or what WAL is needed")
	}
	if err == nil {
		_, err = i.Segments()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", repo.ErrDamaged, infoName, err)
	}
	return i, nil
}

// settle works out what WAL is needed from what the server's manifest says.
func (i *Info) settle(ranges []WALRange) error {
	i.WAL = nil
	var first, last wal.LSN
	for k := len(ranges) - 1; k >= 0; k-- { // the server names the newest timeline first
		start, stop, err := ranges[k].addresses()
		if err != nil {
			return err
		}
		if first == 0 || start < first {
			first = start
		}
		if stop > last {
			last, i.Timeline = stop, ranges[k].Timeline
		}
		i.WAL = append(i.WAL, ranges[k])
	}
	i.Start, i.Stop = first.String(), last.String()
	return nil
}

// segmentSize finds the size of segments in a control file of any version: it stands in
// a row with other sizes behind a floating-point number that is always the same.
func segmentSize(control []byte) (uint32, error) {
	const float, behind = 1234567.0, 8 + 3*4
	for at := 0; at+behind+4 <= len(control); at += 4 {
		if binary.LittleEndian.Uint64(control[at:]) == math.Float64bits(float) {
			size := binary.LittleEndian.Uint32(control[at+behind:])
			if size >= wal.MinSegmentSize && size <= wal.MaxSegmentSize && size&(size-1) == 0 {
				return size, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: no size of segments in it", wal.ErrControl)
}
