package pgtest

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// newIdentity gives the cluster, which never ran, a system identifier of its own, as
// initdb would have: in pg_control and in the first page of each segment.
func (c *Cluster) newIdentity(r Reporter) {
	r.Helper()
	id := rand.Uint64()>>1 | 1<<56
	err := rewrite(filepath.Join(c.Data, "global", "pg_control"), func(data []byte) error {
		const fixed = 40
		table := crc32.MakeTable(crc32.Castagnoli)
		// The checksum stands behind what it is of, at a place that the version decides.
		for at := fixed; at+4 <= min(len(data), 512); at += 4 {
			if crc32.Checksum(data[:at], table) == binary.LittleEndian.Uint32(data[at:]) {
				binary.LittleEndian.PutUint64(data, id)
				binary.LittleEndian.PutUint32(data[at:], crc32.Checksum(data[:at], table))
				return nil
			}
		}
		return errors.New("no checksum in pg_control")
	})
	segments, _ := filepath.Glob(filepath.Join(c.Data, "pg_wal", "????????????????????????"))
	for _, segment := range segments {
		err = errors.Join(err, rewrite(segment, func(data []byte) error {
			binary.LittleEndian.PutUint64(data[24:], id)
			return nil
		}))
	}
	if err != nil {
		r.Fatalf("make cluster: %v", err)
	}
}

// rewrite changes a file in its place, so that its owner stays.
func rewrite(path string, change func([]byte) error) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := change(data); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
