package base

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const testSystem = 7123456789012345678

// control makes a control file.
func control() []byte {
	data := make([]byte, 8192)
	le := binary.LittleEndian
	le.PutUint64(data, testSystem)
	le.PutUint32(data[8:], 1300)
	le.PutUint64(data[200:], math.Float64bits(1234567.0))
	le.PutUint32(data[220:], 1<<20)
	le.PutUint32(data[288:], crc32.Checksum(data[:288], castagnoli()))
	return data
}

// file is a member of a made-up backup.
type file struct {
	name    string
	content []byte
}

const testLabel = "START WAL LOCATION: 0/2000028 (file 000000010000000000000020)\nCHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\n" +
	"BACKUP FROM: primary\nSTART TIME: 2026-11-22 01:00:00 UTC\nLABEL: test\nSTART TIMELINE: 1\n"

// backupFiles are the files of a made-up backup.
func backupFiles(more ...file) []file {
	return append(append([]file{{"backup_label", []byte(testLabel)}, {"PG_VERSION", []byte("15\n")}}, more...), file{"global/pg_control", control()})
}

// listing is the backup_manifest of files.
func listing(files []file) []byte {
	var b bytes.Buffer
	b.WriteString("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n")
	files = slices.DeleteFunc(slices.Clone(files), func(f file) bool { return strings.HasSuffix(f.name, "/") })
	for i, f := range files {
		sum := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(f.content, castagnoli()))
		comma := ","
		if i == len(files)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, "{ \"Path\": %q, \"Size\": %d, \"Last-Modified\": \"2026-11-22 01:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"%s\" }%s\n",
			f.name, len(f.content), hex.EncodeToString(sum), comma)
	}
	b.WriteString("],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2100000\" }\n],\n")
	sum := sha256.Sum256(b.Bytes())
	fmt.Fprintf(&b, "\"Manifest-Checksum\": \"%s\"}\n", hex.EncodeToString(sum[:]))
	return b.Bytes()
}

// tarOf makes an archive.
func tarOf(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.content)), ModTime: time.Unix(1, 0), Format: tar.FormatUSTAR}
		if f.content == nil && f.name[len(f.name)-1] == '/' {
			h.Typeflag, h.Mode = tar.TypeDir, 0o700
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// through passes an archive through a stream, in pieces of n bytes, and returns what
// comes out and where it must be cut.
func through(archive []byte, large int64, n int) (out []byte, breaks []int64, info *Info, err error) {
	s := newStream(Archive(bytes.NewReader(archive)), large)
	s.stop = func() time.Time { return time.Unix(1000, 0) }
	buf := make([]byte, n)
	after := int64(0)
	for {
		k, err := s.Read(buf)
		out = append(out, buf[:k]...)
		for at := s.next(after); at > 0 && at <= int64(len(out)); at = s.next(after) {
			breaks, after = append(breaks, at), at
		}
		if err == io.EOF { //nolint:errorlint // as Read promises
			return out, breaks, &s.info, nil
		}
		if err != nil {
			return out, breaks, &s.info, err
		}
	}
}
