package repo

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/restic/chunker"
	"github.com/zeebo/blake3"
)

// docs/vectors.json holds test vectors of the format for implementations in other
// languages; docs/format.md says what they mean. Here everything in it is computed
// twice: by this program, and by hand from nothing but what the specification says.
var updateVectors = flag.Bool("vectors.update", false, "write docs/vectors.json anew")

const vectorsFile = "../docs/vectors.json"

// deriveKey is BLAKE3's derive_key mode over the parts, one after another.
func deriveKey(context string, parts ...[]byte) hexBytes {
	out := make(hexBytes, 32)
	blake3.DeriveKey(context, slices.Concat(parts...), out)
	return out
}

func keyed(key []byte, parts ...[]byte) []byte {
	h, err := blake3.NewKeyed(key)
	if err != nil {
		panic(err)
	}
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return h.Sum(nil)
}

func TestVectors(t *testing.T) {
	got := computeVectors(t)
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *updateVectors {
		if err := os.WriteFile(vectorsFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := bytes.Split(text, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(gotLines), len(wantLines)) {
		if !bytes.Equal(gotLines[i], wantLines[i]) {
			t.Fatalf("line %d:\ngot  %s\nwant %s", i+1, gotLines[i], wantLines[i])
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Errorf("%d lines, want %d", len(gotLines), len(wantLines))
	}
	checkByHand(t, got)
}

// checkByHand does without this program's encoders: only primitives.
func checkByHand(t *testing.T, v *vectors) {
	t.Helper()
	if !bytes.Equal(v.Keys["similarity features"], deriveKey("gpdedup v1 similarity features", v.Secrets.Content)) {
		t.Error("similarity features")
	}
	for _, n := range v.Names {
		content, err := hex.DecodeString(n.Content)
		if err != nil || !bytes.Equal(n.ID, keyed(v.Keys["chunk names"], content)) {
			t.Errorf("chunk name of %s: %v", n.Content, err)
		}
	}
	front := v.Config.Object[:len(v.Config.Object)-32]
	if !bytes.Equal(front[:16], append([]byte("GPDDR\x01\x00\x01"), make([]byte, 8)...)) ||
		!bytes.Equal(v.Config.Object[len(front):], keyed(v.Keys["config"], front)) {
		t.Error("config")
	}
	name := make([]byte, 16)
	blake3.DeriveKey("gpdedup v1 key slot name", v.Secrets.KeyFile, name)
	ring, err := openGCM(v.Keys["key slot"], v.Slot.Nonce, v.Slot.Ring, append(bytes.Clone(v.Secrets.Repository), v.Slot.Name...))
	if v.Slot.Name != "file-"+hex.EncodeToString(name) || err != nil || !bytes.Equal(ring, v.Ring) {
		t.Errorf("key slot: %v", err)
	}
	for i, b := range v.Boxes {
		ad := slices.Concat(v.Secrets.Repository, b.Header, binary.LittleEndian.AppendUint64(nil, b.Ordinal), b.Bind)
		var plain []byte
		var err error
		if b.Algorithm == "checksum" {
			plain = b.Box[:len(b.Box)-16]
			length := binary.LittleEndian.AppendUint64(nil, uint64(len(ad)))
			if !bytes.Equal(b.Box[len(plain):], keyed(b.Key, length, ad, plain)[:16]) {
				t.Errorf("box %d: checksum", i)
			}
		} else {
			nonce := append(binary.LittleEndian.AppendUint64(nil, b.Ordinal), 0, 0, 0, 0)
			plain, err = openGCM(b.Key, nonce, b.Box, ad)
		}
		if err != nil || !bytes.Equal(plain, b.Plain) {
			t.Errorf("box %d: %q, %v", i, plain, err)
		}
	}
	identity := blake3.NewDeriveKey("gpdedup v1 stream identity")
	for _, r := range v.Identity.Rows {
		_, _ = identity.Write(binary.LittleEndian.AppendUint32(bytes.Clone(r.ID), r.Raw))
	}
	if !bytes.Equal(identity.Sum(nil), v.Identity.Sum) {
		t.Error("stream identity")
	}
	if got := cutByHand(v, chunker.Pol(binary.LittleEndian.Uint64(v.Ring[33:]))); !slices.Equal(got, v.Cuts.Ends) {
		t.Errorf("cuts: got\n%v, want\n%v", got, v.Cuts.Ends)
	}
}

func openGCM(key, nonce, box, ad []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nonce, box, ad)
}

// cutByHand cuts as the specification says: a chunk ends where the last 64 bytes,
// read as a polynomial, leave a remainder whose low bits are zero.
func cutByHand(v *vectors, p chunker.Pol) (ends []int) {
	stream := cutStream(v)
	for start := 0; start < len(stream); start = ends[len(ends)-1] {
		n := int(v.Cuts.Min)
		for ; n < int(v.Cuts.Max) && start+n < len(stream); n++ {
			var rest chunker.Pol
			for _, b := range stream[start+n-64 : start+n] {
				rest = (rest<<8 | chunker.Pol(b)).Mod(p)
			}
			if rest&(1<<v.Cuts.Bits-1) == 0 {
				break
			}
		}
		ends = append(ends, min(start+n, len(stream)))
	}
	return ends
}
