package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/s3"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
)

// patient is the store with retries that do not wait.
func patient(st storage.Storage) storage.Storage {
	return storage.NewRetry(st, storage.Policy{Attempts: 6, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
}

// firstRequests has the first n requests go wrong in one way.
func firstRequests(n int64, f s3test.Fault) func(string, string) s3test.Fault {
	var left atomic.Int64
	left.Store(n)
	return func(string, string) s3test.Fault {
		if left.Add(-1) >= 0 {
			return f
		}
		return s3test.Fault{}
	}
}

func TestFaultsThatPass(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 30000)
	for name, fault := range map[string]s3test.Fault{
		"slow down":         {Status: 503, Code: "SlowDown"},
		"internal error":    {Status: 500, Code: "InternalError"},
		"bad gateway":       {Status: 502, Plain: true},
		"a page instead":    {Status: 404, Plain: true},
		"conflict":          {Status: 409, Code: "ConditionalRequestConflict"},
		"timeout":           {Status: 400, Code: "RequestTimeout"},
		"changed on way":    {Status: 400, Code: "BadDigest"},
		"cut":               {Cut: true},
		"lost answer":       {Lost: true},
		"torn answer":       {Torn: true},
		"bit in the answer": {FlipBody: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := s3test.StartFake(t)
			ctx := t.Context()
			st := patient(open(t, &fake.Server, "p", probed))
			if err := st.Put(ctx, "config", data); err != nil {
				t.Fatal(err)
			}
			fail := func() { fake.SetHook(firstRequests(2, fault)) }
			fail()
			if err := st.Put(ctx, "manifests/a", data); err != nil {
				t.Errorf("put: %v", err)
			}
			fail()
			if got, err := st.Get(ctx, "manifests/a", -1); err != nil || !bytes.Equal(got, data) {
				t.Errorf("get: %d bytes, %v", len(got), err)
			}
			dst := make([]byte, 1000)
			if fault.FlipBody { // a range has no checksum: who reads it has its own
				fake.SetHook(nil)
			} else {
				fail()
			}
			if err := st.Read(ctx, "manifests/a", 17, dst); err != nil || !bytes.Equal(dst, data[17:1017]) {
				t.Errorf("read: %v", err)
			}
			fail()
			if info, err := st.Stat(ctx, "manifests/a"); err != nil || info.Size != int64(len(data)) {
				t.Errorf("stat: %+v, %v", info, err)
			}
			fail()
			if _, err := st.Stat(ctx, "manifests/b"); !errors.Is(err, storage.ErrNotExist) {
				t.Errorf("stat of what is absent: %v", err)
			}
			fail()
			var keys []string
			if err := st.List(ctx, "", func(i storage.Info) error { keys = append(keys, i.Key); return nil }); err != nil || strings.Join(keys, " ") != "config manifests/a" {
				t.Errorf("list: %v, %v", keys, err)
			}
			fail()
			if err := st.Delete(ctx, "manifests/a"); err != nil {
				t.Errorf("delete: %v", err)
			}
			fake.SetHook(nil)
			if _, err := st.Get(ctx, "manifests/a", -1); !errors.Is(err, storage.ErrNotExist) {
				t.Errorf("get after delete: %v", err)
			}
		})
	}
}

// TestFaultsThatStay: an error that says so, and never that something is absent.
func TestFaultsThatStay(t *testing.T) {
	data := []byte("some bytes of an object")
	for name, fault := range map[string]s3test.Fault{
		"a page instead": {Status: 404, Plain: true},
		"an empty page":  {Empty: true},
		"cut":            {Cut: true},
		"torn":           {Torn: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := s3test.StartFake(t)
			st := patient(open(t, &fake.Server, "p", probed))
			if err := st.Put(t.Context(), "a/b", data); err != nil {
				t.Fatal(err)
			}
			fake.SetHook(func(string, string) s3test.Fault { return fault })
			got, get := st.Get(t.Context(), "a/b", -1)
			_, absent := st.Get(t.Context(), "a/c", -1)
			errs := map[string]error{
				"get": get, "get of nothing": absent,
				"read": st.Read(t.Context(), "a/b", 3, make([]byte, 10)),
				"list": st.List(t.Context(), "", func(storage.Info) error { return nil }),
			}
			if bytes.Equal(got, data) {
				t.Error("the object came through")
			}
			if !fault.Torn { // else there is nothing to tear
				errs["put"] = st.Put(t.Context(), "a/d", data)
				_, errs["stat"] = st.Stat(t.Context(), "a/d")
			}
			if fault.Torn {
				if !errors.Is(absent, storage.ErrNotExist) { // its answer has no body to tear
					t.Error(absent)
				}
				delete(errs, "get of nothing")
			}
			for op, err := range errs {
				if err == nil || errors.Is(err, storage.ErrNotExist) || errors.Is(err, storage.ErrNoPlace) {
					t.Errorf("%s: %v", op, err)
				}
				if op == "read" && errors.Is(err, storage.ErrShort) {
					t.Errorf("%s: %v: the object is long enough", op, err)
				}
			}
		})
	}
}

// TestRefusals: one request, one sentence, and what to do.
func TestRefusals(t *testing.T) {
	for code, want := range map[string]struct {
		status int
		is     error
		hint   string
	}{
		"NoSuchBucket":                 {404, storage.ErrNoPlace, "make the bucket"},
		"InvalidAccessKeyId":           {403, storage.ErrDenied, "access_key_id"},
		"SignatureDoesNotMatch":        {403, storage.ErrDenied, "secret_access_key"},
		"ExpiredToken":                 {400, storage.ErrDenied, "get new ones"},
		"RequestTimeTooSkewed":         {403, storage.ErrDenied, "clock"},
		"AccessDenied":                 {403, storage.ErrDenied, "s3:"},
		"AuthorizationHeaderMalformed": {400, storage.ErrDenied, "region eu-central-1"},
		"PermanentRedirect":            {301, storage.ErrDenied, "region eu-central-1"},
		"InvalidArgument":              {400, storage.ErrDenied, "probe"},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			fake := s3test.StartFake(t)
			st := patient(open(t, &fake.Server, "p", probed))
			fake.SetHook(func(string, string) s3test.Fault {
				return s3test.Fault{Status: want.status, Code: code, Region: "eu-central-1"}
			})
			for op, f := range map[string]func() error{
				"get": func() error { _, err := st.Get(t.Context(), "a", -1); return err },
				"put": func() error { return st.Put(t.Context(), "a", []byte("x")) },
				"list": func() error {
					return st.List(t.Context(), "", func(storage.Info) error { return nil })
				},
			} {
				fake.Counts()
				err := f()
				is := want.is
				if code == "AccessDenied" && op == "put" {
					is = storage.ErrReadOnly
				}
				if !errors.Is(err, is) || errors.Is(err, storage.ErrNotExist) {
					t.Errorf("%s: %v", op, err)
				}
				var hint interface{ Hint() string }
				if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), want.hint) {
					t.Errorf("%s: %v: no hint about %q", op, err, want.hint)
				}
				n := 0
				for _, c := range fake.Counts() {
					n += c
				}
				if n != 1 {
					t.Errorf("%s: %d requests", op, n)
				}
			}
		})
	}
}

// TestStalledRequest: a server that does not answer is given up, and the request
// tried again.
func TestStalledRequest(t *testing.T) {
	fake := s3test.StartFake(t)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	inner, err := s3.Open(s3.Options{
		Bucket: fake.Bucket, Endpoint: fake.Endpoint, AccessKey: fake.AccessKey, SecretKey: fake.SecretKey,
		Stall: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	inner.SetTraits(probed)
	st := patient(inner)
	fake.SetHook(firstRequests(1, s3test.Fault{Block: never}))
	if err := st.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Errorf("put: %v", err)
	}
	fake.SetHook(firstRequests(2, s3test.Fault{Block: never}))
	if got, err := st.Get(t.Context(), "a", -1); err != nil || string(got) != "x" {
		t.Errorf("get: %q, %v", got, err)
	}
	fake.SetHook(func(string, string) s3test.Fault { return s3test.Fault{Block: never} })
	if _, err := inner.Get(t.Context(), "a", -1); err == nil || !strings.Contains(err.Error(), "nothing was sent or received") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	fake.SetHook(func(string, string) s3test.Fault { cancel(); return s3test.Fault{Block: never} })
	if _, err := inner.Get(ctx, "a", -1); !errors.Is(err, context.Canceled) {
		t.Errorf("get whose context ended: %v", err)
	}
}

// TestPutWhoseContextEnds: when the server has all bytes, it may complete the object
// whatever we do, so its answer counts.
func TestPutWhoseContextEnds(t *testing.T) {
	fake := s3test.StartFake(t)
	st := open(t, &fake.Server, "", probed)
	for _, data := range [][]byte{[]byte("some bytes"), {}} {
		ctx, cancel := context.WithCancel(t.Context())
		held := make(chan struct{})
		fake.SetHook(func(kind, _ string) s3test.Fault {
			if kind != "PUT" {
				return s3test.Fault{}
			}
			return s3test.Fault{Held: held}
		})
		key := fmt.Sprint("a/", len(data))
		done := make(chan error)
		go func() { done <- st.Put(ctx, key, data) }()
		for fake.Held() == 0 { // the server has all of it
			runtime.Gosched()
		}
		cancel()
		close(held)
		if err := <-done; err != nil {
			t.Errorf("%d bytes: %v", len(data), err)
		}
		if _, there := fake.Object(key); !there {
			t.Errorf("%d bytes: not stored", len(data))
		}
		cancel()
	}
}

// TestOddRanges: a server that answers with other bytes than those asked for.
func TestOddRanges(t *testing.T) {
	fake := s3test.StartFake(t)
	st := open(t, &fake.Server, "", probed)
	data := []byte("0123456789")
	if err := st.Put(t.Context(), "a", data); err != nil {
		t.Fatal(err)
	}
	fake.SetHook(func(string, string) s3test.Fault { return s3test.Fault{Whole: true} })
	dst := make([]byte, 3)
	if err := st.Read(t.Context(), "a", 4, dst); err != nil || string(dst) != "456" {
		t.Errorf("the whole object instead of a range: %q, %v", dst, err)
	}
	if err := st.Read(t.Context(), "a", 8, dst); !errors.Is(err, storage.ErrShort) {
		t.Errorf("the whole object instead of a range beyond its end: %v", err)
	}
	if info, err := st.Stat(t.Context(), "a"); err != nil || info.Size != 10 {
		t.Errorf("stat: %+v, %v", info, err)
	}
	fake.SetHook(func(string, string) s3test.Fault { return s3test.Fault{Shifted: true} })
	if err := st.Read(t.Context(), "a", 4, dst); err == nil {
		t.Errorf("another range than that asked for: %q", dst)
	}
}

// TestListWhoseContextEnds between two pages: that is no complete listing.
func TestListWhoseContextEnds(t *testing.T) {
	fake := s3test.StartFake(t)
	fake.PageSize = 1
	st := open(t, &fake.Server, "", probed)
	for _, key := range []string{"a", "b"} {
		if err := st.Put(t.Context(), key, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := st.List(ctx, "", func(storage.Info) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
}
