package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func FuzzParseHeader(f *testing.F) {
	h := newHeader(Pack, AES256GCM, 7)
	f.Add(byte(Pack), h[:])
	f.Add(byte(Config), []byte("GPDD"))
	f.Add(byte(Manifest), bytes.Repeat([]byte{0xff}, HeaderSize))
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		h, err := ParseHeader(Kind(kind), data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if !bytes.Equal(h[:], data[:HeaderSize]) || h.Kind() != Kind(kind) {
			t.Errorf("header %x", h)
		}
	})
}

func FuzzUnmarshalRing(f *testing.F) {
	f.Add(testRing(f).Marshal())
	f.Add([]byte{ringVersion})
	f.Add(make([]byte, 43+34))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := UnmarshalRing(data)
		if err == nil && !bytes.Equal(r.Marshal(), data) {
			t.Errorf("encodes as %x", r.Marshal())
		}
	})
}

// FuzzOpenDocument opens what anybody may have put into the storage.
func FuzzOpenDocument(f *testing.F) {
	const bind = "manifests/x"
	good := [2][]byte{}
	keys := make(map[bool]*Keys) // slow to make
	for i, encrypted := range []bool{false, true} {
		// The salt must be the same in every process that fuzzes.
		k := testKeys(f, encrypted)
		keys[encrypted] = k
		s, err := k.sealer(newHeader(Manifest, k.algorithm, 7))
		if err != nil {
			f.Fatal(err)
		}
		plain := append([]byte{0, 7, 0, 0, 0, 7, 0, 0, 0}, "payload"...)
		good[i] = s.Seal(append([]byte{}, s.Header[:]...), DocumentBox, []byte(bind), plain)
		f.Add(encrypted, good[i])
	}
	d := testDecoder(f)
	f.Fuzz(func(t *testing.T, encrypted bool, object []byte) {
		_, err := keys[encrypted].OpenDocument(Manifest, bind, object, d)
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Errorf("error wraps no sentinel: %v", err)
		}
		if err == nil && !bytes.Equal(object, good[0]) && !bytes.Equal(object, good[1]) {
			t.Errorf("a forged document opened: %x", object)
		}
	})
}

// FuzzDocumentPlaintext opens what only somebody with the key can have sealed:
// the prefix, the compressed payload and the padding.
func FuzzDocumentPlaintext(f *testing.F) {
	e, d := testEncoder(f), testDecoder(f)
	for _, raw := range [][]byte{nil, []byte("payload"), bytes.Repeat([]byte("text "), 100)} {
		plain, encoding := e.Encode(make([]byte, documentPrefix), raw)
		plain[0] = byte(encoding)
		binary.LittleEndian.PutUint32(plain[1:], uint32(len(raw)))
		binary.LittleEndian.PutUint32(plain[5:], uint32(len(plain)-documentPrefix))
		f.Add(plain)
		f.Add(append(plain, 0, 0, 0))
	}
	k := testKeys(f, false)
	f.Fuzz(func(t *testing.T, plain []byte) {
		s := newObject(t, k, Fragment)
		object := s.Seal(append([]byte{}, s.Header[:]...), DocumentBox, nil, plain)
		payload, err := k.OpenDocument(Fragment, "", object, d)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("error does not wrap ErrDamaged: %v", err)
			}
			return
		}
		if len(payload) != int(binary.LittleEndian.Uint32(plain[1:])) {
			t.Errorf("payload of %d bytes, prefix %x", len(payload), plain[:documentPrefix])
		}
	})
}
