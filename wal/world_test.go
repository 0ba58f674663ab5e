package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/storage/mem"
)

const testSystem SystemID = 7312345678901234567

// world is a repository in memory with an archive in it.
type world struct {
	*testing.T
	st   *mem.Store
	repo *repo.Repo
	a    *Archive
	pack *Packer

	secret repo.Secret
}

func newWorld(t *testing.T, encrypted bool) *world {
	t.Helper()
	w := &world{T: t, st: mem.New()}
	var secret repo.Secret
	if encrypted {
		secret.KeyFile = filepath.Join(t.TempDir(), "key")
		w.must(repo.CreateKeyFile(secret.KeyFile))
	}
	w.secret = secret
	_, err := repo.Init(t.Context(), w.st, repo.InitOptions{Secret: secret, Now: time.Now()})
	w.must(err)
	w.repo, err = repo.Open(t.Context(), w.st, "write", repo.Options{Secret: secret, Concurrency: 2})
	w.must(err)
	w.a, err = Open(w.repo, "main", DefaultContent)
	w.must(err)
	w.pack, err = NewPacker(compress.Fastest, 2, "test")
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// segment makes a segment of size bytes, half of it compressible.
func segment(system SystemID, name Name, size uint32, seed uint64) []byte {
	data := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, uint64(name.Seg)))
	for i := PageHeaderSize; i < len(data)/2; i++ {
		data[i] = byte(rng.Uint32())
	}
	le := binary.LittleEndian
	number, _ := name.Number(size)
	for at := 0; at < len(data); at += 8192 {
		page := data[at:]
		le.PutUint16(page, 0xD110)
		le.PutUint16(page[2:], 0)
		le.PutUint32(page[4:], name.Timeline)
		le.PutUint64(page[8:], number*uint64(size)+uint64(at))
	}
	le.PutUint16(data[2:], pageLongHeader)
	le.PutUint64(data[24:], uint64(system))
	le.PutUint32(data[32:], size)
	le.PutUint32(data[36:], 8192)
	return data
}

func mustName(t testing.TB, s string) Name {
	t.Helper()
	n, err := ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// put packs and stores a file.
func (w *world) put(system SystemID, file string, data []byte) error {
	w.Helper()
	p, err := w.pack.Pack(context.Background(), Source{Name: mustName(w, file), Path: "pg_wal/" + file, System: system}, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	_, err = w.a.Put(context.Background(), system, p)
	return err
}
