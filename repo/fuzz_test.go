package repo

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/seal"
	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/mem"
)

func FuzzGCList(f *testing.F) {
	f.Add((&gcList{}).marshal())
	f.Add((&gcList{ids: []digest.ID{{1}, {2}}, roots: []string{"gp/default/20261121000000", ""}}).marshal())
	f.Add([]byte{gcListVersion, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := unmarshalGCList(data)
		if err == nil && !bytes.Equal(l.marshal(), data) {
			t.Errorf("encodes as %x", l.marshal())
		}
	})
}

// TestHostileGCList: counts that the data cannot hold take no memory.
func TestHostileGCList(t *testing.T) {
	good := (&gcList{ids: []digest.ID{{1}}, roots: []string{"gp/a/b"}}).marshal()
	for at := 1; at+4 <= len(good); at++ {
		for _, v := range []uint32{^uint32(0), 1 << 27, 1 << 31} {
			data := bytes.Clone(good)
			binary.LittleEndian.PutUint32(data[at:], v)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = unmarshalGCList(data)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%#x at byte %d: took %d bytes of memory", v, at, n)
			}
		}
	}
	newer := bytes.Clone(good)
	newer[0]++
	if _, err := unmarshalGCList(newer); !errors.Is(err, ErrNewer) {
		t.Errorf("later version: %v", err)
	}
}

// FuzzCheckResults: whatever a list of checked packs holds, it is taken or refused, and no
// entry is newer than the list.
func FuzzCheckResults(f *testing.F) {
	f.Add(encodeResults(nil, nil))
	f.Add(encodeResults([]digest.ID{{1}, {2}}, map[digest.ID]packResult{{1}: {time.Unix(1795000000, 0), true}, {2}: {time.Unix(1<<40, 0), false}}))
	f.Add([]byte{checkedVersion, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		put := time.Unix(1800000000, 0)
		c := &checkResults{packs: make(map[digest.ID]packResult)}
		err := c.decode(data, put)
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) || err != nil && len(c.packs) > 0 {
			t.Errorf("%v, %d packs", err, len(c.packs))
		}
		for id, p := range c.packs {
			if p.at.After(put) {
				t.Errorf("%s was read at %s, after the list was put", id.Short(), p.at)
			}
		}
	})
}

// FuzzConfig reads the JSON of a config that anybody may have written: it may be
// accepted, but never as authentic.
func FuzzConfig(f *testing.F) {
	ring, err := seal.NewRing(&[32]byte{1, 2, 3})
	if err != nil {
		f.Fatal(err)
	}
	c := &Config{ID: digest.ID{1}, IDHex: digest.ID{1}.String(), Encryption: encryptionAES, Chunks: Chunks{Min: 8192, Max: 131072, Bits: 13}}
	keys := seal.NewKeys(c.ID, ring, true)
	good, err := c.marshal(keys)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"min": 8192`), []byte(`"min": 1`), 1))
	f.Add(bytes.Replace(good, []byte(encryptionAES), []byte("rot13"), 1))
	f.Add(good[:seal.HeaderSize+digest.Size])
	f.Fuzz(func(t *testing.T, object []byte) {
		c, err := parseConfig(object)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if err := c.Chunks.validate(); err != nil {
			t.Error(err)
		}
		if err := authenticate(object, seal.NewKeys(c.ID, ring, true)); (err == nil) != bytes.Equal(object, good) {
			t.Errorf("authentic: %v", err)
		}
	})
}

func TestConfigIsAuthentic(t *testing.T) {
	st := mem.New()
	r := newTestRepo(t, st, Secret{Password: "x"}, Options{})
	object, err := st.Get(ctx, configKey, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := authenticate(object, r.keys); err != nil {
		t.Fatal(err)
	}
	for i := range object {
		broken := bytes.Clone(object)
		broken[i] ^= 1
		if authenticate(broken, r.keys) == nil {
			t.Errorf("byte %d can be changed", i)
		}
	}
}

// slotObject returns a key slot with that body, whose checksum fits.
func slotObject(body []byte) []byte {
	h := seal.PlainHeader(seal.Slot)
	object := append(h[:], body...)
	sum := digest.Sum(object)
	return append(object, sum[:]...)
}

// FuzzSlot reads the JSON of key slots that anybody may have written, and tries
// to open them.
func FuzzSlot(f *testing.F) {
	ring, err := seal.NewRing(&[32]byte{1, 2, 3})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []slot{
		{Kind: "plain", Ring: ring.Marshal()},
		{Kind: "key file", Nonce: make([]byte, 12), Ring: make([]byte, 93)},
		{Kind: "password", KDF: &kdfParams{Time: 1 << 31, Memory: 1 << 31, Lanes: 255}, Nonce: make([]byte, 11)},
	} {
		body, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		st := mem.New()
		if err := st.Put(ctx, slotPrefix+"x", slotObject(body)); err != nil {
			t.Fatal(err)
		}
		s, err := readSlot(ctx, st, "x")
		if err != nil {
			if !errors.Is(err, ErrDamaged) && len(body) < slotLimit/2 {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if _, err := s.unwrap(digest.ID{1}, "x", []byte("material")); !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrDamaged) {
			t.Errorf("unwrap: %v", err)
		}
		_, _ = seal.UnmarshalRing(s.Ring)
	})
}

func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"revision":2,"id":"ab","epoch":2,"slots":[{"name":"file-00","epochs":[1,2],"kind":"key file","nonce":"AAAAAAAAAAAAAAAA","ring":"AA=="}]}`))
	f.Add([]byte(`{"revision":2,"id":"ab","epoch":1,"slots":[{"name":"password-00"}]}`))
	f.Add([]byte(`{"revision":3}`))
	cred := &credential{key: [32]byte{1}}
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := parseKeySet("set-2-ab.copy", slotObject(body))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("error wraps no sentinel: %v", err)
			}
			return
		}
		if _, _, err := set.open(digest.ID{1}, cred); !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrDamaged) {
			t.Errorf("open: %v", err)
		}
	})
}

// TestHostileKDF: a slot cannot make its reader take all memory or time.
func TestHostileKDF(t *testing.T) {
	salt := make([]byte, 16)
	for _, p := range []kdfParams{
		{Time: 0, Memory: 64, Lanes: 1, Salt: salt},
		{Time: 65, Memory: 64, Lanes: 1, Salt: salt},
		{Time: 9, Memory: 1 << 20, Lanes: 1, Salt: salt},
		{Time: 1, Memory: 7, Lanes: 1, Salt: salt},
		{Time: 1, Memory: 1<<20 + 1, Lanes: 1, Salt: salt},
		{Time: 1, Memory: 64, Lanes: 0, Salt: salt},
		{Time: 1, Memory: 64, Lanes: 1, Salt: salt[:7]},
	} {
		if _, err := p.key("password"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestSlotsBindTheirPlace: a slot opens in its repository, under its name, with
// its secret, and not otherwise.
func TestSlotsBindTheirPlace(t *testing.T) {
	ring, err := seal.NewRing(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := testKeyFile(t)
	material, err := readKeyFile(key)
	if err != nil {
		t.Fatal(err)
	}
	repo := digest.ID{1}
	name, made, err := newSlot(repo, ring, &credential{key: material}, "key file", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	object, err := encodeKeyObject(made)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(object, ring.Content[:]) || bytes.Contains(object, []byte(base64.StdEncoding.EncodeToString(ring.Content[:24]))) {
		t.Error("the ring is visible in its slot")
	}
	st := mem.New()
	if err := st.Put(ctx, slotPrefix+name, object); err != nil {
		t.Fatal(err)
	}
	s, err := readSlot(ctx, st, name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.unwrap(repo, name, material[:]); err != nil || got.Content != ring.Content {
		t.Errorf("unwrap: %v", err)
	}
	other := material
	other[0] ^= 1
	for what, err := range map[string]error{
		"repository": second(s.unwrap(digest.ID{2}, name, material[:])),
		"name":       second(s.unwrap(repo, name+"0", material[:])),
		"secret":     second(s.unwrap(repo, name, other[:])),
	} {
		if !errors.Is(err, ErrWrongKey) {
			t.Errorf("with another %s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// checkpointForm is what docs/format.md says of a checkpoint's key.
var checkpointForm = regexp.MustCompile(`\.part-[0-9a-f]{16}-[0-9]+$`)

// Only what has the form is a checkpoint's, and all of it.
func FuzzCheckpointSuffix(f *testing.F) {
	const ending = ".part-0123456789abcdef-0"
	for _, s := range []string{
		"", "x", "x" + ending, ending + ending, ending + "x", "x.part-0123456789abcdeF-0", "x.part-0123456789abcdef-",
		"x.part-0123456789abcdef0-1", ".part-0123456789abcdef-1.part-", "x.part-0123456789abcde--1", "x.part-0123456789abcdef-1a", ending + "\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := -1
		if loc := checkpointForm.FindStringIndex(s); loc != nil {
			want = loc[0]
		}
		if got := checkpointSuffix(s); got != want {
			t.Errorf("%q: the ending begins at %d, not %d", s, want, got)
		}
	})
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", ".", "..", "gpbackup_0_20261121000000_16384.gz", "a/b", "é", "%41", "x.part-0123456789abcdef-0", "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if back, err := unescape(e); err != nil || back != s {
			t.Errorf("%q is stored as %q, which is read as %q, %v", s, e, back, err)
		}
		if s != "" && storage.CheckKey(e) != nil {
			t.Errorf("%q is stored as %q, which is no key", s, e)
		}
		if checkpointForm.MatchString(e) {
			t.Errorf("%q is stored as %q, which looks like a checkpoint", s, e)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", "%", "%4", "%41", "%2e", "%2E", "%2F", "a%zzb", "x%2Epart-0123456789abcdef-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if out, err := unescape(s); err == nil && escape(out) != s {
			t.Errorf("%q is read as %q, which is stored as %q", s, out, escape(out))
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(backupName("20261121000000", "t").Key())
	f.Add(checkpointKey(Name{Named, "n/s", "é", "1"}.Key(), "0123456789abcdef", 12))
	f.Add("manifests/gp/default/20261121000000/x.part-0123456789abcdef-0.part-0123456789abcdef-1")
	f.Add("manifests/a/b")
	f.Fuzz(func(t *testing.T, key string) {
		n, checkpoint, err := parseKey(key)
		if err != nil {
			return
		}
		rest, ok := strings.CutPrefix(key, n.Key())
		if !ok || checkpoint != (rest != "") || checkpoint && checkpointForm.FindString(rest) != rest {
			t.Errorf("%q is read as %+v, %v, which is stored as %q", key, n, checkpoint, n.Key())
		}
	})
}

func TestNames(t *testing.T) {
	longest := strings.Repeat("x", maxName)
	for s, ok := range map[string]bool{
		"": false, ".": false, "..": false, "...": true, ".a": true, "a b": true, "\x00": true, "/": true,
		longest: true, longest + "x": false, strings.Repeat("é", 33): true, strings.Repeat("é", 34): false,
		strings.Repeat("x", 178) + ".part-0123456789abcdef": true,
	} {
		err := Name{Backup, s, "g", "i"}.Validate()
		if ok != (err == nil) || err != nil && !errors.Is(err, ErrUsage) {
			t.Errorf("%.30q of %d bytes: %v", s, len(s), err)
		}
		if ok {
			key := Name{Base, s, s, s}.Key()
			if n, checkpoint, err := parseKey(checkpointKey(key, "0123456789abcdef", 1<<30)); err != nil || !checkpoint || n.Item != s {
				t.Errorf("checkpoint of %.30q: %+v, %v", s, n, err)
			}
		}
	}
}

func FuzzKeyFile(f *testing.F) {
	text := strings.Repeat("ab", 32)
	f.Add("# comment\n\n" + keyFileTag + " " + text + "\n")
	f.Add(keyFileTag + " " + text + "\r\n")
	f.Add(keyFileTag + " " + text[1:] + "\n")
	f.Add("gpdedup-key-v2 " + text)
	path := filepath.Join(f.TempDir(), "key")
	f.Fuzz(func(t *testing.T, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := readKeyFile(path)
		if err != nil && !errors.Is(err, ErrWrongKey) {
			t.Errorf("error does not wrap ErrWrongKey: %v", err)
		}
		if err == nil && !strings.Contains(content, keyFileTag) {
			t.Errorf("key %x out of nothing", key)
		}
	})
}
