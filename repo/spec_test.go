package repo_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
	"golang.org/x/crypto/argon2"
)

// This is a reader written from docs/format.md alone: it shares no code with the
// program. It restores the golden repositories, so the specification is complete,
// and says what the program does.

type specReader struct {
	t       *testing.T
	dir     string
	id      []byte
	aes     bool
	content []byte
	epochs  map[uint16][]byte
	zstd    *zstd.Decoder

	byColumns int           // chunks stored so
	kinds     map[byte]bool // of columns
}

func (r *specReader) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *specReader) assert(ok bool, what string) {
	r.t.Helper()
	if !ok {
		r.t.Fatal(what)
	}
}

func (r *specReader) get(key string) []byte {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "repo", key))
	r.must(err)
	return data
}

func specDerive(context string, parts ...[]byte) []byte {
	out := make([]byte, 32)
	blake3.DeriveKey(context, slices.Concat(parts...), out)
	return out
}

func (r *specReader) keyed(key []byte, parts ...[]byte) []byte {
	h, err := blake3.NewKeyed(key)
	r.must(err)
	_, _ = h.Write(slices.Concat(parts...))
	return h.Sum(nil)
}

func (r *specReader) gcm(key, nonce, box, ad []byte) []byte {
	r.t.Helper()
	block, err := aes.NewCipher(key)
	r.must(err)
	aead, err := cipher.NewGCM(block)
	r.must(err)
	plain, err := aead.Open(nil, nonce, box, ad)
	r.must(err)
	return plain
}

var (
	le16 = binary.LittleEndian.Uint16
	le32 = binary.LittleEndian.Uint32
	le64 = binary.LittleEndian.Uint64
)

type specSlot struct {
	Name        string
	Nonce, Ring []byte
	KDF         struct {
		Time   uint32
		Memory uint32 `json:"memory_kib"`
		Lanes  uint8
		Salt   []byte
	}
}

// keyObject reads the JSON of an object below keys/.
func (r *specReader) keyObject(name string, v any) {
	r.t.Helper()
	object := r.get("keys/" + name)
	sum := blake3.Sum256(object[:len(object)-32])
	r.assert(bytes.Equal(sum[:], object[len(object)-32:]), "hash of keys/"+name)
	r.must(json.Unmarshal(object[48:len(object)-32], v))
}

// slot returns the slot that the variant's secret is of, and its name.
func (r *specReader) slot(variant string) (string, *specSlot) {
	names, err := os.ReadDir(filepath.Join(r.dir, "repo", "keys"))
	r.must(err)
	newest := 0
	for _, name := range names {
		if digits, ok := strings.CutPrefix(name.Name(), "revision-"); ok {
			n, err := strconv.Atoi(digits)
			r.must(err)
			newest = max(newest, n)
		}
	}
	slot := &specSlot{}
	if newest == 0 {
		r.keyObject(names[0].Name(), slot)
		return names[0].Name(), slot
	}
	var mark struct{ Set string }
	r.keyObject(fmt.Sprintf("revision-%d", newest), &mark)
	var set struct {
		Epoch uint16
		Slots []specSlot
	}
	r.keyObject(fmt.Sprintf("set-%d-%s", newest, mark.Set), &set)
	r.assert(variant == "rotated" && newest > 2 && set.Epoch == 2 && len(set.Slots) == 3, "key set")
	key := r.keyFile()
	id := make([]byte, 16)
	blake3.DeriveKey("gpdedup v1 key slot name", key, id)
	for i := range set.Slots {
		if set.Slots[i].Name == "file-"+hex.EncodeToString(id) {
			return set.Slots[i].Name, &set.Slots[i]
		}
	}
	r.t.Fatal("no slot of the key file")
	return "", nil
}

// keyFile reads the key file.
func (r *specReader) keyFile() []byte {
	text, err := os.ReadFile(filepath.Join(r.dir, "key"))
	r.must(err)
	line := strings.TrimSpace(string(text[bytes.Index(text, []byte("\ngpdedup-key-v1 "))+16:]))
	key, err := hex.DecodeString(line)
	r.must(err)
	return key
}

// open reads config and key slot.
func (r *specReader) open(variant string) {
	config := r.get("config")
	body := config[:len(config)-32]
	var c struct {
		ID, Encryption string
	}
	r.must(json.Unmarshal(body[48:], &c))
	var err error
	r.id, err = hex.DecodeString(c.ID)
	r.must(err)
	r.aes = c.Encryption == "aes-256-gcm"
	name, slot := r.slot(variant)
	ring := slot.Ring
	var material []byte
	switch variant {
	case "keyfile", "rotated", "columns":
		material = r.keyFile()
		id := make([]byte, 16)
		blake3.DeriveKey("gpdedup v1 key slot name", material, id)
		r.assert(name == "file-"+hex.EncodeToString(id), "slot's name")
	case "password":
		material = argon2.IDKey([]byte("correct horse battery staple"), slot.KDF.Salt, slot.KDF.Time, slot.KDF.Memory, slot.KDF.Lanes, 32)
		r.assert(name == "password-"+hex.EncodeToString(slot.KDF.Salt), "slot's name")
	}
	if material != nil {
		ring = r.gcm(specDerive("gpdedup v1 key slot", material), slot.Nonce, ring, append(bytes.Clone(r.id), name...))
	}
	r.assert(ring[0] == 1 && len(ring) == 43+34*int(le16(ring[41:])), "key ring")
	r.content = ring[1:33]
	r.epochs = make(map[uint16][]byte)
	for e := ring[43:]; len(e) > 0; e = e[34:] {
		r.epochs[le16(e)] = e[2:34]
	}
	mac := r.keyed(specDerive("gpdedup v1 config authentication", r.content, r.id), body)
	r.assert(bytes.Equal(mac, config[len(body):]), "config's code")
}

// box opens a box of the object with that header.
func (r *specReader) box(kind byte, header []byte, ordinal uint64, bind, box []byte) []byte {
	r.t.Helper()
	algorithm := map[bool]byte{false: 0, true: 1}[r.aes]
	r.assert(bytes.Equal(header[:8], []byte{'G', 'P', 'D', 'D', kind, 1, algorithm, 1}) && header[10] == 0, "header")
	context := "gpdedup v1 metadata epoch"
	if kind == 'P' || kind == 'W' {
		context = "gpdedup v1 data epoch"
	}
	key := specDerive("gpdedup v1 object", specDerive(context, r.epochs[le16(header[8:])]), []byte{kind}, header[16:48])
	number := binary.LittleEndian.AppendUint64(nil, ordinal)
	ad := slices.Concat(r.id, header[:48], number, bind)
	if r.aes {
		return r.gcm(key, append(number, 0, 0, 0, 0), box, ad)
	}
	plain := box[:len(box)-16]
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(ad)))
	r.assert(bytes.Equal(r.keyed(key, length, ad, plain)[:16], box[len(plain):]), "checksum")
	return plain
}

func (r *specReader) decode(encoding byte, payload []byte, raw uint32) []byte {
	r.t.Helper()
	out := payload
	switch encoding {
	case 0:
	case 1:
		var err error
		out, err = r.zstd.DecodeAll(payload, nil)
		r.must(err)
	case 3:
		out = r.columns(payload, int(raw))
		r.byColumns++
	default:
		r.assert(false, "encoding")
	}
	r.assert(len(out) == int(raw) && len(payload) <= len(out), "length")
	return out
}

func (r *specReader) document(kind byte, key, bind string) []byte {
	r.t.Helper()
	object := r.get(key)
	plain := r.box(kind, object, 0, []byte(bind), object[48:])
	return r.decode(plain[0], plain[9:9+le32(plain[5:])], le32(plain[1:]))
}

type specRow struct {
	id                               []byte
	raw, pack, offset, stored, order uint32
	encoding                         byte
}

type specTable struct {
	packs [][]byte
	rows  []specRow
}

// table reads a table and returns what follows it.
func (r *specReader) table(b []byte) (specTable, []byte) {
	var t specTable
	packs, rows, bases := le32(b), int(le32(b[4:])), le32(b[8:])
	r.assert(bases == 0, "bases")
	b = b[12:]
	for range packs {
		t.packs = append(t.packs, b[:32])
		b = b[80:]
	}
	columns, small := b[32*rows:], b[(32+24)*rows:]
	var before specRow
	for i := range rows {
		column := func(k int) uint32 { return le32(columns[4*(k*rows+i):]) }
		x := specRow{id: b[32*i : 32*i+32], raw: column(0), stored: column(3), encoding: small[3*i]}
		x.pack = before.pack + column(1)
		if x.pack == before.pack {
			x.offset, x.order = before.offset+before.stored, before.order+1
		}
		x.offset += column(2)
		x.order += column(4)
		t.rows = append(t.rows, x)
		before = x
	}
	return t, small[3*rows:]
}

func (r *specReader) chunk(t *specTable, x specRow, inline []byte) []byte {
	r.t.Helper()
	var payload []byte
	if x.pack == 1<<32-1 {
		payload = inline[x.offset : x.offset+x.stored]
	} else {
		id := hex.EncodeToString(t.packs[x.pack])
		pack := r.get("packs/" + id[:2] + "/" + id)
		sum := blake3.Sum256(pack)
		r.assert(bytes.Equal(sum[:], t.packs[x.pack]), "pack's name")
		r.footer(pack, x)
		payload = r.box('P', pack, uint64(x.order), x.id, pack[x.offset:x.offset+x.stored])
	}
	out := r.decode(x.encoding, payload, x.raw)
	r.assert(bytes.Equal(r.keyed(specDerive("gpdedup v1 chunk names", r.content), out), x.id), "chunk's name")
	return out
}

// footer checks that the pack's own directory has the row where it is.
func (r *specReader) footer(pack []byte, x specRow) {
	r.t.Helper()
	trailer := pack[len(pack)-16:]
	n := int(le32(trailer))
	r.assert(le32(trailer[4:]) == ^uint32(n) && string(trailer[8:]) == "GPDDend\x01", "trailer")
	entries := r.box('P', pack, 1<<64-1, []byte("footer"), pack[len(pack)-16-n:len(pack)-16])
	count, at, e := le32(entries), uint32(48), entries[4:]
	for i := range count {
		stored := le32(e[32:])
		if i == x.order {
			r.assert(bytes.Equal(e[:32], x.id) && at == x.offset && stored == x.stored && le32(e[36:]) == x.raw && e[40] == x.encoding, "entry")
		}
		r.assert(e[40] != 2 && e[40] < 4 && e[41] < 4, "entry has more fields")
		at += stored
		features := 24 * int(e[41]>>1)
		e = e[42+features:]
	}
	r.assert(len(e) == 0 && x.order < count, "footer")
}

// stream restores what the manifest under key says.
func (r *specReader) stream(key string) []byte {
	r.t.Helper()
	m := r.document('M', key, key)
	checkpoint := byte(0)
	if strings.Contains(key, ".part-") {
		checkpoint = 1
	}
	r.assert(m[0] == 1 && m[1] == checkpoint && m[3] < 2, "manifest")
	rest := m[44+8*int(m[3]):] // behind the tail
	rest = rest[4+le32(rest):]
	leaves := le32(rest)
	sizes := rest[4:]
	t, rest := r.table(sizes[12*leaves:])
	inline := rest[4:]
	r.assert(len(inline) == int(le32(rest)), "inline area")
	var out []byte
	identity := blake3.NewDeriveKey("gpdedup v1 stream identity")
	add := func(t *specTable, rows []specRow) {
		for _, x := range rows {
			_, _ = identity.Write(binary.LittleEndian.AppendUint32(bytes.Clone(x.id), x.raw))
			out = append(out, r.chunk(t, x, inline)...)
		}
	}
	for i := range leaves {
		leaf, rest := r.table(r.chunk(&t, t.rows[i], nil))
		before := len(out)
		add(&leaf, leaf.rows)
		r.assert(len(rest) == 0 && len(leaf.rows) == int(le32(sizes[12*i+8:])) && uint64(len(out)-before) == le64(sizes[12*i:]), "leaf list")
	}
	add(&t, t.rows[leaves:])
	r.assert(uint64(len(out)) == le64(m[4:]) && bytes.Equal(identity.Sum(nil), m[12:44]), "identity")
	return out
}

func TestSpecification(t *testing.T) {
	for _, variant := range []string{"plain", "keyfile", "password", "rotated", "columns"} {
		r := &specReader{t: t, dir: filepath.Join("testdata/golden/v1", variant), kinds: make(map[byte]bool)}
		var err error
		r.zstd, err = zstd.NewReader(nil)
		r.must(err)
		defer r.zstd.Close()
		r.open(variant)
		text, err := os.ReadFile(filepath.Join(r.dir, "golden.json"))
		r.must(err)
		var golden struct {
			Streams []struct {
				Name       struct{ Class, Namespace, Group, Item string }
				Checkpoint string
				Sum        string `json:"blake3"`
			}
		}
		r.must(json.Unmarshal(text, &golden))
		r.assert(len(golden.Streams) >= 9, "too few streams")
		for _, s := range golden.Streams {
			key := s.Checkpoint
			if key == "" {
				encode := strings.NewReplacer("%", "%25", " ", "%20", "é", "%C3%A9", ".part-", "%2Epart-", "/", "%2F").Replace
				key = "manifests/" + s.Name.Class + "/" + encode(s.Name.Namespace) + "/" + encode(s.Name.Group) + "/" + encode(s.Name.Item)
			}
			sum := blake3.Sum256(r.stream(key))
			if hex.EncodeToString(sum[:]) != s.Sum {
				t.Errorf("%s: %s came back otherwise", variant, key)
			}
		}
		r.otherObjects()
		r.assert(r.byColumns > 0 == (variant == "columns"), "chunks by columns")
		for kind := range byte(7) {
			r.assert(r.kinds[kind] == (variant == "columns"), fmt.Sprintf("a column of kind %d", kind))
		}
	}
}

// otherObjects opens fragments and what is under gc/.
func (r *specReader) otherObjects() {
	r.t.Helper()
	fragments, err := os.ReadDir(filepath.Join(r.dir, "repo", "index"))
	r.must(err)
	for _, f := range fragments {
		b := r.document('F', "index/"+f.Name(), "")
		packs := le32(b)
		b = b[4:]
		for range packs {
			id := hex.EncodeToString(b[:32])
			pack := r.get("packs/" + id[:2] + "/" + id)
			r.assert(len(pack) == int(le32(b[32:])), "size of the pack")
			n := int(le32(pack[len(pack)-16:]))
			entries := r.box('P', pack, 1<<64-1, []byte("footer"), pack[len(pack)-16-n:len(pack)-16])
			r.assert(bytes.HasPrefix(b[36:], entries), "entries")
			b = b[36+len(entries):]
		}
		r.assert(len(b) == 0, "fragment")
	}
	for kind, key := range map[byte]string{
		'C': "gc/condemned/00112233445566778899aabbccddeeff", 'L': "gc/lost/ffeeddccbbaa99887766554433221100",
	} {
		b := r.document(kind, key, key)
		n := le32(b[1:])
		b = b[5+32*n:]
		roots := le32(b)
		b = b[4:]
		for range roots {
			b = b[2+le16(b):]
		}
		r.assert(len(b) == 0 && n > 0, key)
	}
	const tombstone = "gc/deleted/gp/default/20261120000000"
	r.assert(json.Valid(r.document('T', tombstone, tombstone)), "tombstone")
}
