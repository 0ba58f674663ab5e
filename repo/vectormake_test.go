package repo

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/chunking"
	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/manifest"
	"github.com/gpdedup/gpdedup/repo/seal"
)

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type vectors struct {
	Secrets struct {
		Repository hexBytes    `json:"repository_id"`
		Content    hexBytes    `json:"content"`
		Epochs     []epochPair `json:"epochs"`
		KeyFile    hexBytes    `json:"key_file"`
	} `json:"secrets"`
	Keys      map[string]hexBytes `json:"keys"`
	Ring      hexBytes            `json:"key_ring"`
	Names     []nameVector        `json:"chunk_names"`
	Config    configVector        `json:"config"`
	Slot      slotVector          `json:"key_slot"`
	Boxes     []boxVector         `json:"boxes"`
	Documents []documentVector    `json:"documents"`
	Padme     [][2]int            `json:"padme"`
	Table     tableVector         `json:"table"`
	Fragment  fragmentVector      `json:"fragment"`
	GCList    gcVector            `json:"gc_list"`
	Identity  identityVector      `json:"stream_identity"`
	Escape    [][2]string         `json:"escape"`
	Cuts      cutVector           `json:"cuts"`
}

type epochPair struct {
	Number uint16   `json:"number"`
	Secret hexBytes `json:"secret"`
}

type nameVector struct {
	Content string   `json:"content"`
	ID      hexBytes `json:"id"`
}

type configVector struct {
	JSON   string   `json:"json"`
	Object hexBytes `json:"object"`
}

type slotVector struct {
	Name  string   `json:"name"`
	Nonce hexBytes `json:"nonce"`
	Ring  hexBytes `json:"wrapped_ring"`
}

type boxVector struct {
	Algorithm string   `json:"algorithm"`
	Header    hexBytes `json:"header"`
	Key       hexBytes `json:"object_key"`
	Ordinal   uint64   `json:"ordinal,string"`
	Bind      hexBytes `json:"bind"`
	Plain     hexBytes `json:"plain"`
	Box       hexBytes `json:"box"`
}

type documentVector struct {
	Key     string   `json:"key"`
	Payload string   `json:"payload"`
	Object  hexBytes `json:"object"`
}

type tableVector struct {
	Packs   []hexBytes  `json:"packs"`
	Headers []hexBytes  `json:"headers"`
	Rows    []vectorRow `json:"rows"`
	Bases   []vectorRow `json:"bases"`
	Encoded hexBytes    `json:"encoded"`
}

type vectorRow struct {
	ID       hexBytes       `json:"id"`
	Raw      uint32         `json:"raw"`
	Pack     uint32         `json:"pack"`
	Offset   uint32         `json:"offset"`
	Stored   uint32         `json:"stored"`
	Ordinal  uint32         `json:"ordinal"`
	Encoding index.Encoding `json:"encoding"`
	Flags    uint8          `json:"flags"`
	Depth    uint8          `json:"depth"`
	Base     uint32         `json:"base"`
}

type fragmentVector struct {
	Packs []struct {
		ID      hexBytes      `json:"id"`
		Size    uint32        `json:"size"`
		Entries []vectorEntry `json:"entries"`
	} `json:"packs"`
	Encoded hexBytes `json:"encoded"`
}

type vectorEntry struct {
	ID       hexBytes       `json:"id"`
	Stored   uint32         `json:"stored"`
	Raw      uint32         `json:"raw"`
	Encoding index.Encoding `json:"encoding"`
	Flags    uint8          `json:"flags"`
	Depth    uint8          `json:"depth,omitempty"`
	Base     hexBytes       `json:"base,omitempty"`
	Features []hexBytes     `json:"features_le,omitempty"`
}

type gcVector struct {
	IDs     []hexBytes `json:"ids"`
	Roots   []string   `json:"roots"`
	Encoded hexBytes   `json:"encoded"`
}

type identityVector struct {
	Rows []struct {
		ID  hexBytes `json:"id"`
		Raw uint32   `json:"raw"`
	} `json:"rows"`
	Sum hexBytes `json:"sum"`
}

type cutVector struct {
	Seed   string `json:"seed"` // the stream is the BLAKE3 output of it, extended to Length
	Length int    `json:"length"`
	Min    uint   `json:"min"`
	Max    uint   `json:"max"`
	Bits   int    `json:"bits"`
	Ends   []int  `json:"ends"`
}

func filled(b byte, n int) hexBytes {
	out := make(hexBytes, n)
	for i := range out {
		out[i] = b + byte(i)
	}
	return out
}

func vectorRing(t *testing.T, v *vectors) *seal.Ring {
	t.Helper()
	ring, err := seal.NewRing((*[32]byte)(v.Secrets.Content))
	if err != nil {
		t.Fatal(err)
	}
	ring.Epochs = nil
	for _, e := range v.Secrets.Epochs {
		ring.Epochs = append(ring.Epochs, seal.Epoch{Number: e.Number, Secret: [32]byte(e.Secret)})
	}
	return ring
}

// computeVectors has this program encode everything.
func computeVectors(t *testing.T) *vectors {
	t.Helper()
	v := &vectors{}
	v.Secrets.Repository, v.Secrets.Content, v.Secrets.KeyFile = filled(0x10, 32), filled(0x30, 32), filled(0x50, 32)
	v.Secrets.Epochs = []epochPair{{1, filled(0x70, 32)}, {7, filled(0x90, 32)}}
	ring := vectorRing(t, v)
	id := digest.ID(v.Secrets.Repository)
	keys := seal.NewKeys(id, ring, true)
	v.Ring = ring.Marshal()
	feature := keys.FeatureKey()
	v.Keys = map[string]hexBytes{
		"chunk names":         deriveKey("gpdedup v1 chunk names", v.Secrets.Content),
		"similarity features": feature[:],
		"config":              deriveKey("gpdedup v1 config authentication", v.Secrets.Content, v.Secrets.Repository),
		"data epoch 1":        deriveKey("gpdedup v1 data epoch", v.Secrets.Epochs[0].Secret),
		"data epoch 7":        deriveKey("gpdedup v1 data epoch", v.Secrets.Epochs[1].Secret),
		"metadata epoch 1":    deriveKey("gpdedup v1 metadata epoch", v.Secrets.Epochs[0].Secret),
		"metadata epoch 7":    deriveKey("gpdedup v1 metadata epoch", v.Secrets.Epochs[1].Secret),
		"key slot":            deriveKey("gpdedup v1 key slot", v.Secrets.KeyFile),
	}
	password := &kdfParams{Time: 3, Memory: 64 << 10, Lanes: 1, Salt: filled(1, 16)}
	var err error
	if v.Keys["argon2id"], err = password.key(goldenPassword); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "gpdedup", string(filled(0, 256))} {
		sum := keys.Namer().Sum([]byte(s))
		v.Names = append(v.Names, nameVector{hex.EncodeToString([]byte(s)), sum[:]})
	}
	c := &Config{ID: id, IDHex: id.String(), Encryption: encryptionAES, Chunks: Chunks{Min: 131072, Max: 2097152, Bits: 17}}
	if v.Config.Object, err = c.marshal(keys); err != nil {
		t.Fatal(err)
	}
	v.Config.JSON = string(v.Config.Object[48 : len(v.Config.Object)-32])
	v.Slot = slotVector{Name: keyFileSlot([32]byte(v.Secrets.KeyFile)), Nonce: filled(2, 12)}
	aead, bind, err := wrapCipher(id, v.Slot.Name, v.Secrets.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	v.Slot.Ring = aead.Seal(nil, v.Slot.Nonce, v.Ring, bind)
	computeBoxes(t, v, ring)
	for n := 1; n < 1<<40; n = n*3 + 1 {
		v.Padme = append(v.Padme, [2]int{n, seal.Padme(n)})
	}
	computeTable(t, v)
	for _, s := range []string{
		"gpbackup_0_20261121000000_16384.gz", "a b/ü%", "...", "A_z-9", "~", "\x00\xff",
		"t.part-0123456789abcdef-0", "t.part-0123456789abcdef-0.part-0123456789abcdef-12",
		"t.part-0123456789abcdeF-0", "t.part-0123456789abcdef-", ".part-0123456789abcdef-7",
	} {
		v.Escape = append(v.Escape, [2]string{hex.EncodeToString([]byte(s)), escape(s)})
	}
	v.Cuts = cutVector{Seed: "gpdedup cut vector", Length: 1 << 18, Min: 4096, Max: 16384, Bits: 12}
	stream := cutStream(v)
	pool := chunking.NewPool(ctx, 2, int(v.Cuts.Max))
	cutter := chunking.NewCutter(bytes.NewReader(stream),
		chunking.Params{Polynomial: ring.Polynomial, Min: v.Cuts.Min, Max: v.Cuts.Max, Bits: v.Cuts.Bits}, pool, nil, nil)
	for end := 0; ; {
		chunk, err := cutter.Next()
		if errors.Is(err, io.EOF) {
			return v
		}
		if err != nil {
			t.Fatal(err)
		}
		end += len(chunk.Data)
		v.Cuts.Ends = append(v.Cuts.Ends, end)
		chunk.Release()
	}
}

// cutStream is random, but for a run of zeros and a run of ones.
func cutStream(v *vectors) []byte {
	h := blake3.New()
	_, _ = h.WriteString(v.Cuts.Seed)
	stream := make([]byte, v.Cuts.Length)
	_, _ = h.Digest().Read(stream) // never fails
	clear(stream[100000:140000])
	for i := 150000; i < 190000; i++ {
		stream[i] = 1
	}
	return stream
}

func vectorHeader(kind seal.Kind, algorithm byte, epoch uint16, salt byte) hexBytes {
	h := append([]byte("GPDD"), byte(kind), 1, algorithm, 1)
	h = binary.LittleEndian.AppendUint16(h, epoch)
	return append(append(h, 0, 0, 0, 0, 0, 0), filled(salt, 32)...)
}

func computeBoxes(t *testing.T, v *vectors, ring *seal.Ring) {
	t.Helper()
	for algorithm, name := range []string{"checksum", "aes-256-gcm"} {
		keys := seal.NewKeys(digest.ID(v.Secrets.Repository), ring, algorithm == 1)
		for _, x := range []struct {
			kind    seal.Kind
			epoch   uint16
			ordinal uint64
			bind    hexBytes
			plain   string
		}{
			{seal.Pack, 7, 3, filled(0xa0, 32), "the payload of a chunk"},
			{seal.Pack, 1, seal.FooterOrdinal, hexBytes("footer"), "entries"},
			{seal.Fragment, 1, 0, nil, ""},
		} {
			header := vectorHeader(x.kind, byte(algorithm), x.epoch, 0xc0)
			s, err := keys.OpenObject(x.kind, header)
			if err != nil {
				t.Fatal(err)
			}
			v.Boxes = append(v.Boxes, boxVector{
				Algorithm: name, Header: header, Ordinal: x.ordinal, Bind: x.bind, Plain: hexBytes(x.plain),
				Key: vectorObjectKey(v, header), Box: s.Seal(nil, x.ordinal, x.bind, []byte(x.plain)),
			})
		}
		// The same by way of a document, whose prefix and padding are part of the box.
		header := vectorHeader(seal.Tombstone, byte(algorithm), 7, 0xe0)
		s, err := keys.OpenObject(seal.Tombstone, header)
		if err != nil {
			t.Fatal(err)
		}
		d := documentVector{Key: "gc/deleted/gp/default/20261121000000", Payload: `{"time":"2026-11-21T00:00:00Z","host":"cdw.example"}`}
		plain := append([]byte{0}, binary.LittleEndian.AppendUint32(nil, uint32(len(d.Payload)))...)
		plain = binary.LittleEndian.AppendUint32(plain, uint32(len(d.Payload)))
		plain = append(plain, d.Payload...)
		if algorithm == 1 {
			plain = append(plain, make([]byte, seal.Padme(len(plain))-len(plain))...)
		}
		d.Object = s.Seal(bytes.Clone(header), 0, []byte(d.Key), plain)
		v.Documents = append(v.Documents, d)
	}
}

// vectorObjectKey derives the key of an object from its header.
func vectorObjectKey(v *vectors, header []byte) hexBytes {
	name := map[bool]string{true: "data epoch ", false: "metadata epoch "}[header[4] == 'P' || header[4] == 'W']
	return deriveKey("gpdedup v1 object", v.Keys[name+string('0'+header[8])], header[4:5], header[16:])
}

func computeTable(t *testing.T, v *vectors) {
	t.Helper()
	v.Table = tableVector{
		Packs: []hexBytes{filled(0x20, 32), filled(0x40, 32)}, Headers: []hexBytes{vectorHeader(seal.Pack, 1, 7, 0x60), make(hexBytes, 48)},
		Rows: []vectorRow{
			{ID: filled(1, 32), Raw: 1000, Pack: 0, Offset: 48, Stored: 500, Encoding: index.Zstd},
			{ID: filled(2, 32), Raw: 2000, Pack: 0, Offset: 548, Stored: 2016, Ordinal: 1},
			{ID: filled(3, 32), Raw: 3000, Pack: 1, Offset: 9999, Stored: 40, Ordinal: 12, Encoding: index.Delta, Depth: 2, Base: 2},
			{ID: filled(4, 32), Raw: 7, Pack: manifest.InlinePack, Offset: 0, Stored: 7},
			{ID: filled(1, 32), Raw: 1000, Pack: 0, Offset: 48, Stored: 500, Encoding: index.Zstd},
		},
		Bases: []vectorRow{
			{ID: filled(5, 32), Raw: 3100, Pack: 0, Offset: 5000, Stored: 900, Ordinal: 4, Encoding: index.Zstd},
			{ID: filled(6, 32), Raw: 3050, Pack: 1, Offset: 48, Stored: 60, Encoding: index.Delta, Depth: 1, Base: 1},
		},
	}
	table := manifest.Table{}
	for i := range v.Table.Packs {
		table.Packs = append(table.Packs, manifest.PackRef{ID: digest.ID(v.Table.Packs[i]), Header: seal.Header(v.Table.Headers[i])})
	}
	chunks := func(rows []vectorRow) (out []manifest.Chunk) {
		for _, r := range rows {
			out = append(out, manifest.Chunk{
				ID: digest.ID(r.ID), Raw: r.Raw, Pack: r.Pack, Offset: r.Offset, Stored: r.Stored, Ordinal: r.Ordinal,
				Encoding: r.Encoding, Flags: r.Flags, Depth: r.Depth, Base: r.Base,
			})
		}
		return out
	}
	table.Rows, table.Bases = chunks(v.Table.Rows), chunks(v.Table.Bases)
	var err error
	if v.Table.Encoded, err = table.Append(nil); err != nil {
		t.Fatal(err)
	}
	identity := manifest.NewIdentity()
	for _, c := range table.Rows {
		identity.Add(c.ID, c.Raw)
		v.Identity.Rows = append(v.Identity.Rows, struct {
			ID  hexBytes `json:"id"`
			Raw uint32   `json:"raw"`
		}{c.ID[:], c.Raw})
	}
	sum := identity.Sum()
	v.Identity.Sum = sum[:]

	entries := []index.Entry{
		{ID: digest.ID(filled(1, 32)), Stored: 500, Raw: 1000, Encoding: index.Zstd, Flags: index.FlagLeaf},
		{
			ID: digest.ID(filled(3, 32)), Stored: 40, Raw: 3000, Encoding: index.Delta, Depth: 2, Base: digest.ID(filled(6, 32)),
			Flags: index.FlagFeatures, Features: [3]uint64{1, 2, 1<<63 | 3},
		},
	}
	packs := []index.Pack{{ID: digest.ID(filled(0x20, 32)), Size: 4096, Entries: entries}, {ID: digest.ID(filled(0x40, 32)), Size: 200}}
	v.Fragment.Encoded = index.AppendFragment(nil, packs)
	for _, p := range packs {
		out := struct {
			ID      hexBytes      `json:"id"`
			Size    uint32        `json:"size"`
			Entries []vectorEntry `json:"entries"`
		}{p.ID[:], p.Size, []vectorEntry{}}
		for _, e := range p.Entries {
			x := vectorEntry{ID: e.ID[:], Stored: e.Stored, Raw: e.Raw, Encoding: e.Encoding, Flags: e.Flags, Depth: e.Depth}
			if e.Encoding == index.Delta {
				x.Base = e.Base[:]
				for _, f := range e.Features {
					x.Features = append(x.Features, binary.LittleEndian.AppendUint64(nil, f))
				}
			}
			out.Entries = append(out.Entries, x)
		}
		v.Fragment.Packs = append(v.Fragment.Packs, out)
	}
	l := gcList{ids: []digest.ID{packs[0].ID, packs[1].ID}, roots: []string{"gp/default/20261121000000", "stream/default/notes/1"}}
	v.GCList = gcVector{IDs: []hexBytes{l.ids[0][:], l.ids[1][:]}, Roots: l.roots, Encoded: l.marshal()}
}
