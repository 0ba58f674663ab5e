// Package probe finds out what a storage really does: whether it keeps what package
// storage promises to a repository.
package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/storage"
)

// Verdict is how a finding bears on a repository.
type Verdict string

// The verdicts.
const (
	Good   Verdict = "good"
	Weak   Verdict = "weaker" // usable; the finding says what is lost
	Broken Verdict = "broken" // no place for a repository
)

// Finding is what one part of the probe found.
type Finding struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Says    string  `json:"says"` // a sentence, without a full stop
}

// Report is what a probe found.
type Report struct {
	Findings []Finding
	Traits   storage.Traits
}

// Verdict is the worst of the findings.
func (r *Report) Verdict() Verdict {
	worst := Good
	for _, f := range r.Findings {
		if f.Verdict == Broken || f.Verdict == Weak && worst == Good {
			worst = f.Verdict
		}
	}
	return worst
}

// ErrBroken: the storage is no place for a repository.
var ErrBroken = errors.New("the storage is no place for a repository")

// Prefix begins the keys of what a probe puts. Where nothing may be deleted, it
// stays there; it belongs to no repository.
const Prefix = "probe/"

// skewLimit is from where on clocks that differ are worth a word. Amazon refuses
// requests at 15 minutes.
const skewLimit = time.Minute

// checksummed is a storage that can send wrong checksums on purpose.
type checksummed interface {
	// RefusesWrong puts data under key with a wrong checksum of the kind: "sha256",
	// "md5" or "crc32c". It reports whether the target refused it.
	RefusesWrong(ctx context.Context, key, kind string, data []byte) (bool, error)
}

// Run probes the storage. An error means that it could not be done: nothing can be
// written there, for example. The storage's traits are set to what was found.
func Run(ctx context.Context, st storage.Storage) (*Report, error) {
	p := &prober{ctx: ctx, st: st, dir: Prefix + strings.ToLower(rand.Text()) + "/"}
	p.traited, p.hasTraits = storage.As[storage.Traited](st)
	if p.hasTraits {
		p.traited.SetTraits(storage.Traits{})
	}
	for _, step := range []func() error{p.write, p.readBack, p.list, p.ranges, p.clock, p.condition, p.checksums, p.remove} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("probe %s: %w", st.Location(), err)
		}
	}
	if p.hasTraits {
		p.traited.SetTraits(p.report.Traits)
	}
	return &p.report, nil
}

// Quick is the part of Run that takes a few requests and changes nothing of what the
// storage is known to do: whether an object can be put, read, listed and deleted, and
// what the clock of the storage says.
func Quick(ctx context.Context, st storage.Storage) (*Report, error) {
	p := &prober{ctx: ctx, st: st, dir: Prefix + strings.ToLower(rand.Text()) + "/"}
	for _, step := range []func() error{p.write, p.readBack, p.list, p.clock, p.remove} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("probe %s: %w", st.Location(), err)
		}
	}
	return &p.report, nil
}

type prober struct {
	ctx       context.Context //nolint:containedctx // lives as long as Run
	st        storage.Storage
	traited   storage.Traited
	hasTraits bool
	dir       string
	keys      []string // to remove
	report    Report
	before    time.Time // the first object was put between these, by our clock
	after     time.Time
}

func (p *prober) find(name string, v Verdict, format string, args ...any) {
	p.report.Findings = append(p.report.Findings, Finding{name, v, fmt.Sprintf(format, args...)})
}

func (p *prober) key(name string) string {
	key := p.dir + name
	p.keys = append(p.keys, key)
	return key
}

var content = []byte("what gpdedup repo probe puts; it may be deleted\n")

// write puts an object, which must be possible for all the rest.
func (p *prober) write() error {
	p.before = time.Now()
	if err := p.st.Put(p.ctx, p.key("first"), content); err != nil {
		return err
	}
	p.after = time.Now()
	p.find("write", Good, "objects can be put")
	return nil
}

func (p *prober) readBack() error {
	const name = "read after write"
	got, err := p.st.Get(p.ctx, p.dir+"first", -1)
	switch {
	case errors.Is(err, storage.ErrNotExist):
		p.find(name, Broken, "an object that was put is not there")
	case err != nil:
		return err
	case !bytes.Equal(got, content):
		p.find(name, Broken, "an object comes back with other bytes")
	default:
		p.find(name, Good, "an object is there as soon as it was put")
	}
	return nil
}

func (p *prober) list() error {
	const name = "list after write"
	found, err := p.listed()
	if err != nil {
		return err
	}
	if !found[p.dir+"first"] {
		p.find(name, Broken, "a listing does not show what was put before it began, so backups could be lost")
		return nil
	}
	p.find(name, Good, "a listing shows what was put before it began")
	return nil
}

func (p *prober) listed() (map[string]bool, error) {
	found := make(map[string]bool)
	err := p.st.List(p.ctx, p.dir, func(i storage.Info) error { found[i.Key] = true; return nil })
	return found, err
}

func (p *prober) ranges() error {
	dst := make([]byte, 7)
	if err := p.st.Read(p.ctx, p.dir+"first", 5, dst); err != nil {
		return err
	}
	if !bytes.Equal(dst, content[5:12]) {
		p.find("ranges", Broken, "a part of an object is not what lies there")
		return nil
	}
	p.find("ranges", Good, "parts of objects can be read")
	return nil
}

// clock compares the storage's clock with ours.
func (p *prober) clock() error {
	info, err := p.st.Stat(p.ctx, p.dir+"first")
	if err != nil {
		return err
	}
	var skew time.Duration
	switch {
	case info.ModTime.Before(p.before):
		skew = info.ModTime.Sub(p.before)
	case info.ModTime.After(p.after):
		skew = info.ModTime.Sub(p.after)
	}
	if skew.Abs() >= skewLimit {
		p.find("clocks", Weak, "the storage's clock is %s from this host's; retention goes by the storage's, and S3 refuses requests at 15 minutes",
			skew.Round(time.Second))
		return nil
	}
	p.find("clocks", Good, "the storage's clock is this host's, to a minute")
	return nil
}

// checksums puts bytes with wrong checksums, as if they had changed on the way.
func (p *prober) checksums() error {
	const name = "checksums"
	st, ok := storage.As[checksummed](p.st)
	if !ok {
		return nil
	}
	var verified []string
	for _, kind := range []string{"sha256", "md5", "crc32c"} {
		refused, err := st.RefusesWrong(p.ctx, p.key("wrong-"+kind), kind, content)
		if err != nil {
			return err
		}
		if refused {
			verified = append(verified, kind)
		}
		if kind == "crc32c" {
			p.report.Traits.CRC32C = storage.No
			if refused {
				p.report.Traits.CRC32C = storage.Yes
			}
		}
	}
	if len(verified) == 0 {
		p.find(name, Weak, "none is verified: bytes that change on their way to the storage show only when they are read")
		return nil
	}
	p.find(name, Good, "bytes that changed on their way are refused (%s)", strings.Join(verified, ", "))
	return nil
}

// remove deletes what the probe put, if it may.
func (p *prober) remove() error {
	const name = "delete"
	for _, key := range p.keys {
		err := p.st.Delete(p.ctx, key)
		if err != nil && storage.IsPermanent(err) {
			p.find(name, Good, "refused: enough for backups; retention and prune need it (what the probe put stays under %s)", p.dir)
			return nil
		}
		if err != nil {
			return err
		}
	}
	found, err := p.listed()
	if err != nil {
		return err
	}
	if len(found) > 0 {
		p.find(name, Broken, "a listing shows what was deleted before it began")
		return nil
	}
	p.find(name, Good, "allowed, and takes effect at once")
	return nil
}
