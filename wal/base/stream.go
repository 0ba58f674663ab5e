package base

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gpdedup/gpdedup/repo"
)

// stream makes one tar archive of all archives of a Source. It is the io.Reader that is
// stored, and knows where chunks must end: members that are longer than a chunk are cut
// from their own start, so that what comes and goes before them moves no cut in them.
type stream struct {
	src   Source
	info  Info
	large int64 // bytes from which on a member is cut from its own start
	stop  func() time.Time

	prefix  string // of the names of members of the archive that is being read
	archive io.Reader
	ended   bool // all archives are through

	out    []byte // goes out next
	left   int64  // of the content of a member, which goes from the archive straight out
	fill   int64  // bytes behind that content, up to a whole block
	offset int64  // in the stream, of what goes out next
	breaks []int64
	err    error

	member header
	keep   *[]byte   // where the content is kept, or nil
	sum    hash.Hash // of the content
	sums   map[string]fileSum
	kept   map[string]*[]byte
}

type fileSum struct {
	size int64
	sum  hash.Hash
}

// keptMembers are read by this program too.
var keptMembers = []string{"backup_label", "PG_VERSION", "global/pg_control", manifestName}

const (
	// maxKept bounds what is kept of a member in bytes. backup_manifest takes about 150
	// bytes a file.
	maxKept = 1 << 30
	// maxWord bounds the other members that are kept.
	maxWord = 64 << 10
)

func newStream(src Source, large int64) *stream {
	return &stream{
		src: src, large: large, stop: time.Now, sums: make(map[string]fileSum), kept: make(map[string]*[]byte),
		info: Info{Version: infoVersion, Tablespaces: []Tablespace{}},
	}
}

// next tells the cutter where a chunk must end.
func (s *stream) next(after int64) int64 {
	for len(s.breaks) > 0 && s.breaks[0] <= after {
		s.breaks = s.breaks[1:]
	}
	if len(s.breaks) == 0 {
		return 0
	}
	return s.breaks[0]
}

func (s *stream) breakAt(offset int64) {
	if n := len(s.breaks); offset > 0 && (n == 0 || s.breaks[n-1] < offset) {
		s.breaks = append(s.breaks, offset)
	}
}

// Read gives the stream. It ends only after the whole backup was there, and proved to be
// what the server's manifest says.
func (s *stream) Read(p []byte) (int, error) {
	for {
		switch {
		case s.err != nil:
			return 0, s.err
		case len(p) == 0:
			return 0, nil
		case len(s.out) > 0:
			n := copy(p, s.out)
			s.out = s.out[n:]
			s.offset += int64(n)
			return n, nil
		case s.left > 0:
			n, err := s.archive.Read(p[:min(int64(len(p)), s.left)])
			s.pass(p[:n])
			if err != nil && s.left > 0 {
				s.err = broken(err)
			}
			if n > 0 {
				return n, nil
			}
		case s.fill > 0:
			// What is behind the content is not ours to choose: zeros, as it should be.
			if err := s.skipFill(); err != nil {
				s.err = err
			}
		case s.ended:
			s.err = io.EOF
		default:
			if err := s.step(); err != nil {
				s.err = err
			}
		}
	}
}

// broken is the error for an archive that does not end where it should. Nothing of it
// must look like the end of the stream.
func broken(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) { //nolint:errorlint // of a reader
		return fmt.Errorf("%w: it ends in the middle", errTar)
	}
	return fmt.Errorf("read base backup: %w", err)
}

// pass takes note of content that goes out.
func (s *stream) pass(p []byte) {
	s.offset += int64(len(p))
	s.left -= int64(len(p))
	if s.sum != nil {
		_, _ = s.sum.Write(p) // never fails
	}
	if s.keep != nil {
		*s.keep = append(*s.keep, p...)
	}
	if s.left == 0 {
		s.memberEnds()
	}
}

func (s *stream) skipFill() error {
	zeros := make([]byte, s.fill)
	if _, err := io.ReadFull(s.archive, zeros); err != nil {
		return broken(err)
	}
	clear(zeros)
	s.out, s.fill = zeros, 0
	return nil
}

func (s *stream) memberEnds() {
	if s.sum != nil {
		s.sums[s.member.name] = fileSum{s.member.size, s.sum}
	}
	s.sum, s.keep = nil, nil
}

// step goes on to the next member, the next archive, or the end.
func (s *stream) step() error {
	if s.archive == nil {
		oid, r, err := s.src.Next()
		if err == io.EOF { //nolint:errorlint // as Next promises
			return s.finish()
		}
		if err != nil {
			return err
		}
		s.archive, s.prefix = r, ""
		if oid != "" {
			s.prefix = "pg_tblspc/" + oid
		}
		return nil
	}
	var b block
	_, err := io.ReadFull(s.archive, b[:])
	if err == io.EOF || err == nil && b.isZero() {
		// Some servers leave the blocks at the end out; and what follows them is nothing.
		return s.endArchive()
	}
	if err != nil {
		return broken(err)
	}
	return s.begin(&b)
}

// endArchive reads what is left, which must be zeros.
func (s *stream) endArchive() error {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.archive.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				return fmt.Errorf("%w: something follows its end", errTar)
			}
		}
		if err == io.EOF {
			s.archive = nil
			return nil
		}
		if err != nil {
			return broken(err)
		}
	}
}

var tablespaceLink = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^pg_tblspc/[0-9]+$`) })

// begin begins a member.
func (s *stream) begin(b *block) error {
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	name := path.Join(s.prefix, h.name)
	if strings.HasPrefix(name, ".gpdedup/") || name == ".gpdedup" {
		return fmt.Errorf("%w: it has a member %s", errTar, name)
	}
	// A tablespace is a directory here: where it is to be is decided when it is restored.
	if h.kind == kindLink {
		if !tablespaceLink().MatchString(name) {
			return fmt.Errorf("%w: %s is a link", errTar, name)
		}
		s.tablespace(path.Base(name), b.field(157, 257))
		h.kind, h.mode = kindDir, 0o700
		b[156] = kindDir
		clear(b[157:257])
		copy(b[100:108], "0000700\x00")
	}
	if name != h.name || b[156] != h.kind {
		if err := b.setName(name, h.kind == kindDir); err != nil {
			return err
		}
	}
	b.setSum()
	h.name = name
	return s.emit(b, h)
}

// emit sends a header out, and prepares for the content.
func (s *stream) emit(b *block, h header) error {
	s.member, s.left, s.fill = h, h.size, h.padded()-h.size
	if h.kind == kindFile {
		if _, twice := s.sums[h.name]; twice {
			return fmt.Errorf("%w: %s is there twice", errTar, h.name)
		}
		s.sum, _ = newSum("CRC32C") // is known
		s.info.Files++
		s.info.Bytes += h.size
	}
	if slices.Contains(keptMembers, h.name) {
		if h.size > maxKept || h.name != manifestName && h.size > maxWord {
			return fmt.Errorf("%w: %s has %d bytes", errTar, h.name, h.size)
		}
		s.keep = new([]byte)
		s.kept[h.name] = s.keep
	}
	if h.name == manifestName {
		s.info.Manifest = Span{s.offset + blockSize, h.size}
	}
	if h.size >= s.large {
		s.breakAt(s.offset)
		s.breakAt(s.offset + blockSize + h.padded())
	}
	s.out = append(s.out, b[:]...)
	if h.size == 0 {
		s.memberEnds()
	}
	return nil
}

func (s *stream) tablespace(oid, path string) {
	i := slices.IndexFunc(s.info.Tablespaces, func(t Tablespace) bool { return t.OID == oid })
	if i < 0 {
		s.info.Tablespaces = append(s.info.Tablespaces, Tablespace{OID: oid, Path: path})
	}
}

// finish adds backup_manifest, if it came apart from the archives, and the Info.
func (s *stream) finish() error {
	manifest, err := s.src.End(&s.info)
	if err != nil {
		return err
	}
	if kept := s.kept[manifestName]; kept != nil {
		manifest = *kept
	} else if manifest != nil {
		if err := s.append(manifestName, manifest); err != nil {
			return err
		}
	}
	if manifest == nil {
		return repo.WithHint(fmt.Errorf("%w: it has no backup_manifest", errTar),
			"take the backup with pg_basebackup of PostgreSQL 13 or later, without --no-manifest")
	}
	if err := s.prove(manifest); err != nil {
		return err
	}
	s.info.Stopped = s.stop().UTC()
	about, err := json.Marshal(&s.info)
	if err != nil {
		return err
	}
	// What a listing reads is a chunk of its own, and so a small read.
	s.breakAt(s.offset + int64(len(s.out)))
	if err := s.append(infoName, about); err != nil {
		return err
	}
	s.out = append(s.out, make([]byte, endBlocks)...)
	s.ended = true
	return nil
}

// append adds a whole member of our own behind what is about to go out.
func (s *stream) append(name string, content []byte) error {
	b, err := newHeader(name, int64(len(content)), s.stop())
	if err != nil {
		return err
	}
	at := s.offset + int64(len(s.out))
	if name == manifestName {
		s.info.Manifest = Span{at + blockSize, int64(len(content))}
	}
	if int64(len(content)) >= s.large {
		s.breakAt(at)
		s.breakAt(at + blockSize + padded(int64(len(content))))
	}
	s.out = append(s.out, b[:]...)
	s.out = append(s.out, content...)
	s.out = append(s.out, make([]byte, padded(int64(len(content)))-int64(len(content)))...)
	return nil
}
