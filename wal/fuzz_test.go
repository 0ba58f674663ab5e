package wal

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage/mem"
)

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"000000010000000000000001", "00000002.history", "000000010000000A000000FE.partial", "000000010000000000000002.00000028.backup"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err == nil && n.String() != s {
			t.Errorf("%q comes back as %q", s, n)
		}
	})
}

func FuzzParsePageHeader(f *testing.F) {
	name, _ := ParseName("000000010000000000000001")
	f.Add(segment(testSystem, name, 1<<20, 1)[:PageHeaderSize])
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParsePageHeader(data)
		if err != nil && !errors.Is(err, ErrPage) {
			t.Error(err)
		}
		if err == nil && h.Check(name, int64(h.SegmentSize)) == nil && h.Address%LSN(h.SegmentSize) != 0 {
			t.Errorf("%+v", h)
		}
	})
}

func FuzzParseControl(f *testing.F) {
	f.Add(controlFile(testSystem, 288))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseControl(data); err == nil && c.System == 0 || err != nil && !errors.Is(err, ErrControl) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func FuzzParseText(f *testing.F) {
	f.Add("1\t0/5000000\tno recovery target specified\n")
	f.Add(labelText)
	f.Add("-1|0/2000078\n0|0/3000078\n")
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := ParseHistory(9, []byte(s)); err == nil {
			for i := range b {
				if b[i].Timeline >= 9 || i > 0 && b[i].Timeline <= b[i-1].Timeline {
					t.Errorf("%+v", b)
				}
			}
		} else if !errors.Is(err, ErrHistory) {
			t.Error(err)
		}
		if l, err := ParseLabel([]byte(s)); err == nil && l.First.Kind != Segment || err != nil && !errors.Is(err, ErrLabel) {
			t.Errorf("%+v, %v", l, err)
		}
		_, _ = ParsePoints(strings.NewReader(s))
	})
}

// FuzzMetadata reads what only somebody with the key can have sealed.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{"000000010000000000000001", "00000002.history"} {
		name, _ := ParseName(s)
		info := Info{Name: name, System: testSystem, Origin: manifest.Origin{Host: "h", Path: "pg_wal/" + s, Time: time.Unix(1, 0).UTC()}}
		if name.Kind == Segment {
			info.PageMagic, info.PageTLI, info.Number, info.SegmentSize, info.PageSize, info.Length = 0xD110, 1, 1, 1<<20, 8192, 1<<20
			info.boxes = []uint32{1000}
		}
		data, err := info.marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s, data)
	}
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		name, err := ParseName(file)
		if err != nil {
			return
		}
		info, err := unmarshalInfo(name, data)
		if err != nil {
			if !errors.Is(err, repo.ErrDamaged) && !errors.Is(err, repo.ErrNewer) {
				t.Error(err)
			}
			return
		}
		if _, err := info.marshal(); err != nil {
			t.Errorf("%+v: %v", info, err)
		}
	})
}

// FuzzObject opens what anybody may have put into the storage.
func FuzzObject(f *testing.F) {
	st := mem.New()
	secret := repo.Secret{KeyFile: filepath.Join(f.TempDir(), "key")}
	if err := repo.CreateKeyFile(secret.KeyFile); err != nil {
		f.Fatal(err)
	}
	if _, err := repo.Init(f.Context(), st, repo.InitOptions{Secret: secret, Now: time.Now()}); err != nil {
		f.Fatal(err)
	}
	r, err := repo.Open(f.Context(), st, "write", repo.Options{Secret: secret, Concurrency: 1})
	if err != nil {
		f.Fatal(err)
	}
	a, err := Open(r, "main", DefaultContent)
	if err != nil {
		f.Fatal(err)
	}
	name, _ := ParseName("00000002.history")
	p := newPacked(Info{Name: name, System: testSystem, Length: 4, Hash: digest.Sum([]byte("text"))})
	p.append([]byte("\x00text"))
	key := a.key(testSystem, name)
	object, err := sealFile(r.Keys(), key, p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(object)
	f.Add(object[:seal.HeaderSize])
	f.Fuzz(func(t *testing.T, object []byte) {
		var data bytes.Buffer
		if _, err := a.opener.open(r.Keys(), key, name, object, &data); err == nil && data.String() != "text" {
			t.Errorf("a forged object opened: %q", data.Bytes())
		}
	})
}
