package probe_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
	"github.com/gpdedup/gpdedup/storage/mem"
	"github.com/gpdedup/gpdedup/storage/probe"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/storage/target"
)

func bucket(t *testing.T, server *s3test.Server) storage.Storage {
	t.Helper()
	st, err := target.OpenWith(server.Location("p"), target.Options{
		Endpoint: server.Endpoint, AccessKey: server.AccessKey, SecretKey: server.SecretKey,
		Getenv: func(string) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestGoodPlaces: a real server, and others that keep the contract.
func TestGoodPlaces(t *testing.T) {
	dir, err := local.Create(t.TempDir() + "/new")
	if err != nil {
		t.Fatal(err)
	}
	for name, st := range map[string]storage.Storage{"versitygw": bucket(t, s3test.Start(t)), "directory": dir, "memory": mem.New()} {
		report, err := probe.Run(t.Context(), st)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if report.Verdict() != probe.Good {
			t.Errorf("%s: %+v", name, report.Findings)
		}
		if name == "versitygw" && report.Traits != (storage.Traits{ConditionalPut: storage.Yes, CRC32C: storage.Yes}) {
			t.Errorf("%s: %+v, %+v", name, report.Traits, report.Findings)
		}
		if err := st.List(t.Context(), "", func(i storage.Info) error { return errors.New(i.Key) }); err != nil {
			t.Errorf("%s: the probe leaves something: %v", name, err)
		}
	}
}

func TestFakesAreFoundOut(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*s3test.Fake)
		finding string
		verdict probe.Verdict
		says    string
	}{
		"condition refused":  {func(f *s3test.Fake) { f.Conditions = s3test.Refused }, "conditional put", probe.Weak, "refused"},
		"condition ignored":  {func(f *s3test.Fake) { f.Conditions = s3test.Ignored }, "conditional put", probe.Weak, "ignored"},
		"condition is a lie": {func(f *s3test.Fake) { f.Conditions = s3test.Racy }, "conditional put", probe.Weak, "not reliable"},
		"late listings":      {func(f *s3test.Fake) { f.Late = 3 }, "list after write", probe.Broken, "does not show"},
		"no checksums":       {func(f *s3test.Fake) { f.Unverified = true }, "checksums", probe.Weak, "none"},
		"clock":              {func(f *s3test.Fake) { f.Skew = -5 * time.Minute }, "clocks", probe.Weak, "-5m"},
		"no delete":          {func(f *s3test.Fake) { f.NoDelete = true }, "delete", probe.Good, "refused"},
		"required condition": {func(f *s3test.Fake) { f.Conditions = s3test.Required }, "conditional put", probe.Good, "one won"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := s3test.StartFake(t)
			test.prepare(fake)
			st := bucket(t, &fake.Server)
			report, err := probe.Run(t.Context(), st)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range report.Findings {
				want := probe.Good
				if f.Name == test.finding {
					want = test.verdict
					if !strings.Contains(f.Says, test.says) {
						t.Errorf("%s says %q", f.Name, f.Says)
					}
				}
				if f.Verdict != want {
					t.Errorf("%+v, want %s", f, want)
				}
			}
			conditional := storage.Yes
			if test.finding == "conditional put" && test.verdict == probe.Weak {
				conditional = storage.No
			}
			if traited, _ := storage.As[storage.Traited](st); report.Traits.ConditionalPut != conditional || traited.Traits() != report.Traits {
				t.Errorf("traits %+v", report.Traits)
			}
		})
	}
}
