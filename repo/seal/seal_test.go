package seal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/compress"
)

// testRing returns a ring whose secrets are always the same.
func testRing(t testing.TB) *Ring {
	t.Helper()
	r, err := NewRing(&[32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	r.Epochs = []Epoch{{Number: 1, Secret: [32]byte{4}}, {Number: 7, Secret: [32]byte{5}}}
	return r
}

func testKeys(t testing.TB, encrypted bool) *Keys {
	t.Helper()
	return NewKeys(digest.ID{9}, testRing(t), encrypted)
}

func newObject(t testing.TB, k *Keys, kind Kind) *Sealer {
	t.Helper()
	s, err := k.NewObject(kind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testDecoder(t testing.TB) *compress.Decoder {
	t.Helper()
	d, err := compress.NewDecoder(1)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func testEncoder(t testing.TB) *compress.Encoder {
	t.Helper()
	e, err := compress.NewEncoder(compress.Fastest, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestBoxOpensOnlyAsItWasSealed changes one thing at a time of what a box binds.
func TestBoxOpensOnlyAsItWasSealed(t *testing.T) {
	for _, encrypted := range []bool{true, false} {
		k := testKeys(t, encrypted)
		s := newObject(t, k, Pack)
		plain := []byte("some payload")
		box := s.Seal(nil, 3, []byte("bind"), plain)
		if len(box) != len(plain)+Overhead {
			t.Fatalf("a box of %d bytes for %d", len(box), len(plain))
		}
		if bytes.Contains(box, plain) == encrypted {
			t.Errorf("encrypted %v: box %q", encrypted, box)
		}
		reopened, err := k.OpenObject(Pack, s.Header[:])
		if err != nil {
			t.Fatal(err)
		}
		if out, err := reopened.Open([]byte("kept "), 3, []byte("bind"), box); err != nil || string(out) != "kept "+string(plain) {
			t.Fatalf("open: %q, %v", out, err)
		}
		other := func(change func(h []byte, ring *Ring, repo *digest.ID)) *Sealer {
			h, ring, repo := s.Header, testRing(t), digest.ID{9}
			change(h[:], ring, &repo)
			s, err := NewKeys(repo, ring, encrypted).OpenObject(Kind(h[4]), h[:])
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		for what, open := range map[string]func() ([]byte, error){
			"ordinal": func() ([]byte, error) { return s.Open(nil, 4, []byte("bind"), box) },
			"bind":    func() ([]byte, error) { return s.Open(nil, 3, []byte("bine"), box) },
			"no bind": func() ([]byte, error) { return s.Open(nil, 3, nil, box) },
			"salt": func() ([]byte, error) {
				return other(func(h []byte, _ *Ring, _ *digest.ID) { h[47] ^= 1 }).Open(nil, 3, []byte("bind"), box)
			},
			"reserved byte of the header": func() ([]byte, error) {
				return other(func(h []byte, _ *Ring, _ *digest.ID) { h[11] ^= 1 }).Open(nil, 3, []byte("bind"), box)
			},
			"kind": func() ([]byte, error) {
				return other(func(h []byte, _ *Ring, _ *digest.ID) { h[4] = byte(WAL) }).Open(nil, 3, []byte("bind"), box)
			},
			"epoch": func() ([]byte, error) {
				return other(func(h []byte, _ *Ring, _ *digest.ID) { h[8] = 1 }).Open(nil, 3, []byte("bind"), box)
			},
			"secret": func() ([]byte, error) {
				return other(func(_ []byte, r *Ring, _ *digest.ID) { r.Epochs[1].Secret[0] ^= 1 }).Open(nil, 3, []byte("bind"), box)
			},
			"repository": func() ([]byte, error) {
				return other(func(_ []byte, _ *Ring, id *digest.ID) { id[0] ^= 1 }).Open(nil, 3, []byte("bind"), box)
			},
			"cut short": func() ([]byte, error) { return s.Open(nil, 3, []byte("bind"), box[:len(box)-1]) },
			"too long":  func() ([]byte, error) { return s.Open(nil, 3, []byte("bind"), append(slices.Clone(box), 0)) },
			"no box":    func() ([]byte, error) { return s.Open(nil, 3, []byte("bind"), box[:Overhead-1]) },
		} {
			if out, err := open(); !errors.Is(err, ErrDamaged) || out != nil {
				t.Errorf("encrypted %v, other %s: %q, %v", encrypted, what, out, err)
			}
		}
		for bit := range 8 * len(box) {
			broken := slices.Clone(box)
			broken[bit/8] ^= 1 << (bit % 8)
			if _, err := s.Open(nil, 3, []byte("bind"), broken); !errors.Is(err, ErrDamaged) {
				t.Errorf("encrypted %v, bit %d flipped: %v", encrypted, bit, err)
			}
		}
	}
}

// TestSaltsAreFresh: no two objects share a key, so that ordinals can be nonces.
func TestSaltsAreFresh(t *testing.T) {
	for _, encrypted := range []bool{true, false} {
		k := testKeys(t, encrypted)
		seen := make(map[[saltSize]byte]bool)
		for range 100 {
			salt := [saltSize]byte(newObject(t, k, Pack).Header[prefixSize:])
			if seen[salt] {
				t.Fatal("a salt came twice")
			}
			seen[salt] = true
		}
	}
}

func TestHeaders(t *testing.T) {
	k := testKeys(t, true)
	good := newObject(t, k, Manifest).Header
	if good.Epoch() != 7 || good.Kind() != Manifest || good.Algorithm() != AES256GCM || good.IsZero() {
		t.Errorf("header %x", good)
	}
	for what, x := range map[string]struct {
		change func(h []byte) []byte
		want   error
	}{
		"magic":              {func(h []byte) []byte { h[0]++; return h }, ErrDamaged},
		"kind":               {func(h []byte) []byte { h[4] = 'P'; return h }, ErrDamaged},
		"version 0":          {func(h []byte) []byte { h[5] = 0; return h }, ErrDamaged},
		"later version":      {func(h []byte) []byte { h[5]++; return h }, ErrNewer},
		"later algorithm":    {func(h []byte) []byte { h[6] = 2; return h }, ErrNewer},
		"downgrade":          {func(h []byte) []byte { h[6] = 0; return h }, ErrDamaged},
		"other hash":         {func(h []byte) []byte { h[7] = 2; return h }, ErrNewer},
		"unknown epoch":      {func(h []byte) []byte { h[9]++; return h }, ErrNewer},
		"flags":              {func(h []byte) []byte { h[10] = 1; return h }, ErrNewer},
		"shorter by a byte":  {func(h []byte) []byte { return h[:HeaderSize-1] }, ErrDamaged},
		"nothing whatsoever": {func([]byte) []byte { return nil }, ErrDamaged},
	} {
		if _, err := k.OpenObject(Manifest, x.change(slices.Clone(good[:]))); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
	}
}

// TestKeysAreSeparate: what the ring is used for never shares a key.
func TestKeysAreSeparate(t *testing.T) {
	ring := testRing(t)
	ring.Epochs[1].Secret = ring.Content // even if the secrets were equal
	ring.Epochs[0].Secret = ring.Content
	k := NewKeys(digest.ID{9}, ring, true)
	seen := make(map[[32]byte]string)
	add := func(what string, key [32]byte) {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s share a key", what, other)
		}
		seen[key] = what
	}
	add("names", derive(contextNames, ring.Content[:]))
	add("features", k.FeatureKey())
	add("config", derive(contextConfig, ring.Content[:], k.repo[:]))
	add("polynomial", derive(contextPoly, ring.Content[:]))
	for kind := range kindNames {
		secret, ok := k.epochKey(kind, 1)
		if !ok {
			t.Fatal("no epoch 1")
		}
		add(kind.String(), derive(contextObject, secret[:], []byte{byte(kind)}, make([]byte, saltSize)))
	}
	if k.ConfigMAC([]byte("a")) == NewKeys(digest.ID{8}, ring, true).ConfigMAC([]byte("a")) {
		t.Error("a config is authentic in another repository too")
	}
	if k.Namer().Sum([]byte("a")) != NewKeys(digest.ID{8}, ring, false).Namer().Sum([]byte("a")) {
		t.Error("repositories that share Content name chunks differently")
	}
}

func TestRing(t *testing.T) {
	fresh, err := NewRing(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*Ring{fresh, testRing(t)} {
		back, err := UnmarshalRing(r.Marshal())
		if err != nil || fmt.Sprint(back) != fmt.Sprint(r) {
			t.Errorf("%v came back as %v, %v", r, back, err)
		}
		if d := r.Polynomial.Deg(); d != 53 || !r.Polynomial.Irreducible() {
			t.Errorf("polynomial %v", r.Polynomial)
		}
	}
	good := testRing(t).Marshal()
	newer := slices.Clone(good)
	newer[0]++
	if _, err := UnmarshalRing(newer); !errors.Is(err, ErrNewer) {
		t.Errorf("later version: %v", err)
	}
	for n := range len(good) {
		if _, err := UnmarshalRing(good[:n]); err == nil {
			t.Errorf("cut to %d bytes: accepted", n)
		}
	}
	swapped := testRing(t)
	slices.Reverse(swapped.Epochs)
	if _, err := UnmarshalRing(swapped.Marshal()); err == nil {
		t.Error("descending epochs were accepted")
	}
}

func TestDocuments(t *testing.T) {
	d, e := testDecoder(t), testEncoder(t)
	rapid.Check(t, func(rt *rapid.T) {
		encrypted := rapid.Bool().Draw(rt, "encrypted")
		k := testKeys(t, encrypted)
		payload := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(rt, "piece"), rapid.IntRange(0, 300).Draw(rt, "times"))
		var c Compressor
		if rapid.Bool().Draw(rt, "compressed") {
			c = e
		}
		object, err := k.SealDocument(Manifest, "manifests/x", payload, c)
		if err != nil {
			rt.Fatal(err)
		}
		back, err := k.OpenDocument(Manifest, "manifests/x", object, d)
		if err != nil || !bytes.Equal(back, payload) {
			rt.Fatalf("%d bytes came back as %d: %v", len(payload), len(back), err)
		}
		if n := len(object) - HeaderSize - Overhead; encrypted && n != Padme(n) {
			rt.Fatalf("a box of %d bytes is not padded", n)
		}
		for _, other := range []struct {
			kind Kind
			bind string
		}{{Manifest, "manifests/y"}, {Manifest, ""}, {Tombstone, "manifests/x"}} {
			if _, err := k.OpenDocument(other.kind, other.bind, object, d); !errors.Is(err, ErrDamaged) {
				rt.Fatalf("opened as %v: %v", other, err)
			}
		}
	})
	if _, err := testKeys(t, false).SealDocument(Manifest, "k", make([]byte, MaxDocument+1), e); err == nil {
		t.Error("a document beyond the limit was sealed")
	}
}

func TestPadme(t *testing.T) {
	last := 0
	for n := range 1 << 20 {
		p := Padme(n)
		switch {
		case p < n, 100*(p-n) > 12*n:
			t.Fatalf("%d is padded to %d", n, p)
		case p < last:
			t.Fatalf("%d is padded to %d, less than what is shorter", n, p)
		case Padme(p) != p:
			t.Fatalf("%d is padded to %d, which is padded to %d", n, p, Padme(p))
		}
		last = p
	}
	for e := 4; e < 40; e++ { // pack targets need no padding
		if n := 1 << e; Padme(n) != n {
			t.Errorf("%d is padded to %d", n, Padme(n))
		}
	}
}
