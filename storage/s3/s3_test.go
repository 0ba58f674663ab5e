package s3_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/s3"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/storage/storagetest"
)

// open opens the server's bucket under the prefix, for tests that expect success at
// the first try.
func open(t *testing.T, server *s3test.Server, prefix string, traits storage.Traits) *s3.Store {
	t.Helper()
	st, err := s3.Open(s3.Options{
		Bucket: server.Bucket, Prefix: prefix, Endpoint: server.Endpoint, Region: server.Region, CAFile: server.CAFile,
		AccessKey: server.AccessKey, SecretKey: server.SecretKey, Unique: []string{"packs", "index"},
	})
	if err != nil {
		t.Fatal(err)
	}
	st.SetTraits(traits)
	t.Cleanup(func() { _ = st.Close() })
	return st
}

func fresh() string { return "p/" + strings.ToLower(rand.Text()) }

var probed = storage.Traits{ConditionalPut: storage.Yes, CRC32C: storage.Yes}

// TestConformance is the contract on a real server.
func TestConformance(t *testing.T) {
	server := s3test.Start(t)
	storagetest.Run(t, func(t *testing.T) storage.Storage { return open(t, server, fresh(), probed) })
}

// TestConformanceUnprobed is the contract where nothing is known of the target.
func TestConformanceUnprobed(t *testing.T) {
	t.Parallel()
	server := s3test.StartFake(t)
	storagetest.Run(t, func(t *testing.T) storage.Storage { return open(t, &server.Server, fresh(), storage.Traits{}) })
}

// TestConformanceTinyPages has a bucket to itself, whose server lists seven keys at
// a time and refuses what could replace an object.
func TestConformanceTinyPages(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		server := s3test.StartFake(t)
		server.Conditions, server.PageSize = s3test.Required, 7
		return open(t, &server.Server, "", probed)
	})
}
