package base

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal"
)

// manifestName is the server's list of the files of a base backup.
const manifestName = "backup_manifest"

// serverManifest is what backup_manifest says.
type serverManifest struct {
	files map[string]serverFile // by name
	wal   []WALRange
}

// serverFile is a file as backup_manifest describes it.
type serverFile struct {
	size      int64
	algorithm string // of the checksum: NONE, CRC32C, SHA224, SHA256, SHA384 or SHA512
	checksum  []byte // as the server stores it
}

// WALRange is WAL that a backup needs to become consistent.
type WALRange struct {
	Timeline uint32 `json:"timeline"`
	Start    string `json:"start"` // address
	Stop     string `json:"stop"`  // address: the first that is not needed
}

func (r *WALRange) addresses() (start, stop wal.LSN, err error) {
	start, err = wal.ParseLSN(r.Start)
	if err == nil {
		stop, err = wal.ParseLSN(r.Stop)
	}
	if err == nil && (start >= stop || r.Timeline == 0) {
		err = fmt.Errorf("it needs WAL from %s to %s on timeline %d", r.Start, r.Stop, r.Timeline)
	}
	return start, stop, err
}

// parseManifest reads a backup_manifest and checks its own checksum.
func parseManifest(data []byte) (*serverManifest, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: backup_manifest: %w", repo.ErrDamaged, fmt.Errorf(format, args...))
	}
	// The last line has the SHA-256 of all before it.
	body := bytes.TrimRight(data, "\n")
	at := bytes.LastIndexByte(body, '\n') + 1
	var raw struct {
		Version int `json:"PostgreSQL-Backup-Manifest-Version"`
		Files   []struct {
			Path      *string `json:"Path"`
			Encoded   string  `json:"Encoded-Path"`
			Size      int64   `json:"Size"`
			Algorithm string  `json:"Checksum-Algorithm"`
			Checksum  string  `json:"Checksum"`
		} `json:"Files"`
		Ranges []struct {
			Timeline uint32 `json:"Timeline"`
			Start    string `json:"Start-LSN"`
			End      string `json:"End-LSN"`
		} `json:"WAL-Ranges"`
		Checksum string `json:"Manifest-Checksum"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, bad("%w", err)
	}
	if sum := sha256.Sum256(data[:at]); raw.Checksum != hex.EncodeToString(sum[:]) {
		return nil, bad("its checksum is wrong")
	}
	if raw.Version < 1 || raw.Version > 2 {
		return nil, fmt.Errorf("backup_manifest of version %d: %w", raw.Version, repo.ErrNewer)
	}
	m := &serverManifest{files: make(map[string]serverFile, len(raw.Files))}
	for _, f := range raw.Files {
		name := f.Encoded
		if f.Path != nil {
			name = *f.Path
		} else {
			decoded, err := hex.DecodeString(name)
			if err != nil {
				return nil, bad("%w", err)
			}
			name = string(decoded)
		}
		sum, err := hex.DecodeString(f.Checksum)
		if err != nil {
			return nil, bad("%s: %w", name, err)
		}
		if f.Algorithm == "" {
			f.Algorithm = "NONE"
		}
		if _, twice := m.files[name]; twice {
			return nil, bad("%s is there twice", name)
		}
		m.files[name] = serverFile{f.Size, f.Algorithm, sum}
	}
	for _, r := range raw.Ranges {
		w := WALRange{r.Timeline, r.Start, r.End}
		if _, _, err := w.addresses(); err != nil {
			return nil, bad("%w", err)
		}
		m.wal = append(m.wal, w)
	}
	if len(m.wal) == 0 {
		return nil, bad("it does not say what WAL is needed")
	}
	return m, nil
}

// castagnoli is the polynomial of the server's CRC-32C. The table is shared by the
// standard library.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// errAlgorithm: a checksum that this program does not know.
var errAlgorithm = errors.New("unknown checksum algorithm")

// newSum returns what computes checksums of the algorithm; nil for NONE.
func newSum(algorithm string) (hash.Hash, error) {
	switch strings.ToUpper(algorithm) {
	case "NONE":
		return nil, nil //nolint:nilnil // there is nothing to compute
	case "CRC32C":
		return crc32.New(castagnoli()), nil
	case "SHA224":
		return sha256.New224(), nil
	case "SHA256":
		return sha256.New(), nil
	case "SHA384":
		return sha512.New384(), nil
	case "SHA512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("%w %q", errAlgorithm, algorithm)
}

// check compares a file's length and checksum with what the server said. sum is nil
// where nothing was computed.
func (f *serverFile) check(name string, size int64, sum hash.Hash) error {
	if size != f.size {
		return fmt.Errorf("%w: %s has %d bytes, and %d in backup_manifest", repo.ErrDamaged, name, size, f.size)
	}
	if sum == nil {
		return nil
	}
	got := sum.Sum(nil)
	if f.algorithm == "CRC32C" { // the server writes it as its processor holds it
		got = binary.LittleEndian.AppendUint32(nil, binary.BigEndian.Uint32(got))
	}
	if !bytes.Equal(got, f.checksum) {
		return fmt.Errorf("%w: %s does not have the checksum that backup_manifest says", repo.ErrDamaged, name)
	}
	return nil
}

// listed reports whether backup_manifest lists a file of that name: it does not list
// itself, and WAL.
func listed(name string) bool {
	return name != manifestName && name != infoName && !strings.HasPrefix(name, "pg_wal/")
}
