package repo

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/storage/target"
)

// onBucket is a repository in a bucket of a fake server, and a host with a cache.
type onBucket struct {
	t     *testing.T
	fake  *s3test.Fake
	key   string
	cache string
}

func newOnBucket(t *testing.T) *onBucket {
	t.Helper()
	b := &onBucket{t: t, fake: s3test.StartFake(t), key: filepath.Join(t.TempDir(), "key"), cache: filepath.Join(t.TempDir(), "cache")}
	if err := CreateKeyFile(b.key); err != nil {
		t.Fatal(err)
	}
	b.init()
	return b
}

func (b *onBucket) storage() storage.Storage {
	b.t.Helper()
	st, err := target.OpenWith(b.fake.Location("p"), target.Options{
		Endpoint: b.fake.Endpoint, AccessKey: b.fake.AccessKey, SecretKey: b.fake.SecretKey,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

func (b *onBucket) init() {
	b.t.Helper()
	_, err := Init(b.t.Context(), b.storage(), InitOptions{
		Secret: Secret{KeyFile: b.key}, Now: time.Now(), Target: &Target{ConditionalPut: true, CRC32C: true},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.fake.Counts()
}

func (b *onBucket) open(reuse bool) (*Repo, error) {
	return Open(b.t.Context(), b.storage(), "write", Options{Secret: Secret{KeyFile: b.key}, CacheDir: b.cache, Reuse: reuse})
}

func (b *onBucket) mustOpen(reuse bool) *Repo {
	b.t.Helper()
	r, err := b.open(reuse)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *onBucket) want(what string, counts map[string]int) {
	b.t.Helper()
	log := b.fake.Log()
	if got := b.fake.Counts(); !maps.Equal(got, counts) {
		b.t.Errorf("%s: %v, want %v: %q", what, got, counts, log)
	}
}

func small(item string) Name {
	return Name{Class: Backup, Namespace: "default", Group: "20261121000000", Item: item}
}

func write(r *Repo, item string) error {
	_, err := r.Write(context.Background(), small(item), bytes.NewReader([]byte("a small stream: "+item)), WriteOptions{})
	return err
}

func TestReusedOpening(t *testing.T) {
	b := newOnBucket(t)
	r := b.mustOpen(true)
	b.want("the first on a host", map[string]int{"GET": 2, "LIST": 1})
	if err := write(r, "a"); err != nil {
		t.Fatal(err)
	}
	b.want("a small stream", map[string]int{"PUT": 1, "LIST": 1})
	r = b.mustOpen(true)
	if err := write(r, "b"); err != nil {
		t.Fatal(err)
	}
	b.want("the next process", map[string]int{"PUT": 1, "LIST": 1})
	var out bytes.Buffer
	if err := b.mustOpen(true).Restore(t.Context(), small("b"), &out, RestoreOptions{}); err != nil || out.String() != "a small stream: b" {
		t.Fatal(err)
	}
	b.want("a restore", map[string]int{"GET": 2})
	b.mustOpen(false)
	b.want("who reads anew", map[string]int{"GET": 2, "LIST": 1})

	// Without its mark a repository is confirmed by its config.
	if err := b.storage().Delete(t.Context(), markKey(r.config.ID)); err != nil {
		t.Fatal(err)
	}
	b.fake.Counts()
	if err := write(b.mustOpen(true), "c"); err != nil {
		t.Fatal(err)
	}
	b.want("without the mark", map[string]int{"PUT": 1, "LIST": 1, "GET": 1})
}

// TestReplacedRepository: nothing is acknowledged that is sealed for a repository
// that is gone.
func TestReplacedRepository(t *testing.T) {
	b := newOnBucket(t)
	replace := func() {
		t.Helper()
		st := b.storage()
		err := st.List(t.Context(), "", func(i storage.Info) error { return st.Delete(t.Context(), i.Key) })
		if err != nil {
			t.Fatal(err)
		}
		b.init() // with the same key file
	}
	for what, use := range map[string]func(r *Repo) error{
		"small stream": func(r *Repo) error { return write(r, "a") },
		"stream": func(r *Repo) error {
			_, err := r.Write(t.Context(), small("b"), bytes.NewReader(randomText(1, 1<<20)), WriteOptions{})
			return err
		},
		"restore": func(r *Repo) error { return r.Restore(t.Context(), small("a"), &bytes.Buffer{}, RestoreOptions{}) },
	} {
		b.mustOpen(false)
		replace()
		r := b.mustOpen(true)
		err := use(r)
		if !errors.Is(err, ErrReplaced) || Hint(err) == "" {
			t.Errorf("%s in the repository that was replaced: %v", what, err)
		}
		b.fake.Counts()
		b.mustOpen(true)
		b.want(what+": the next process", map[string]int{"GET": 2, "LIST": 1})
	}
}

func TestOpeningOutOfDate(t *testing.T) {
	b := newOnBucket(t)
	b.mustOpen(false)
	b.fake.Counts()
	files, err := filepath.Glob(filepath.Join(b.cache, "opened-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Another key: everything is read again before the key is blamed.
	good := b.key
	b.key += "2"
	if err := CreateKeyFile(b.key); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open(true); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	if n := b.fake.Counts()["GET"]; n < 2 {
		t.Errorf("another key: only %d objects were read", n)
	}
	b.key = good
	for what, spoil := range map[string]func() error{
		"cut short": func() error { return os.WriteFile(files[0], []byte(`{"time":`), 0o600) },
		"config of another": func() error {
			data, err := os.ReadFile(files[0])
			if err != nil {
				return err
			}
			return os.WriteFile(files[0], bytes.Replace(data, []byte(`"config":"`), []byte(`"config":"AAAA`), 1), 0o600)
		},
		"others may write": func() error { return os.Chmod(b.cache, 0o777) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := write(b.mustOpen(true), "x"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := b.fake.Counts()["GET"]; n < 2 {
			t.Errorf("%s: only %d objects were read", what, n)
		}
		if err := os.Chmod(b.cache, 0o700); err != nil {
			t.Fatal(err)
		}
		b.mustOpen(false)
		b.fake.Counts()
	}
}

// TestRacingInits: without conditional puts, the one that was overtaken says so.
func TestRacingInits(t *testing.T) {
	fake := s3test.StartFake(t)
	fake.Conditions = s3test.Ignored
	st, err := target.OpenWith(fake.Location("p"), target.Options{Endpoint: fake.Endpoint, AccessKey: fake.AccessKey, SecretKey: fake.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	for _, overtaken := range []bool{true, false} {
		paused := false
		_, err = Init(t.Context(), st, InitOptions{Now: time.Now(), Target: &Target{}, Pause: func(context.Context, time.Duration) error {
			paused = true
			if overtaken {
				fake.Replace("p/config", []byte("another one's"))
			}
			return nil
		}})
		if !paused || overtaken != errors.Is(err, ErrUsage) || !overtaken && err != nil {
			t.Errorf("overtaken %v: %v", overtaken, err)
		}
		if err := st.Delete(t.Context(), configKey); err != nil {
			t.Fatal(err)
		}
	}
}
