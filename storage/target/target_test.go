package target_test

import (
	"errors"
	"testing"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/s3"
	"github.com/gpdedup/gpdedup/storage/s3/s3test"
	"github.com/gpdedup/gpdedup/storage/target"
)

func TestLocations(t *testing.T) {
	for _, location := range []string{"", "s3:bucket", "s3:///x", "s3://b", "s3://-bucket", "s3://bucket.", "s3://bu:cket/x", "s3://bucket/a//b", "s3://bucket/ä", "S3://bucket", "https://host/bucket", "gs://bucket"} {
		if _, err := target.Open(location); !errors.Is(err, target.ErrLocation) {
			t.Errorf("%q: %v", location, err)
		}
	}
	for location, want := range map[string]string{
		"s3://bucket": "s3://bucket/", "s3://bucket/": "s3://bucket/", "s3://bucket/a/b/": "s3://bucket/a/b", "s3://my.old_Bucket/x": "s3://my.old_Bucket/x",
	} {
		st, err := target.Open(location)
		if err != nil {
			t.Errorf("%q: %v", location, err)
		} else if st.Location() != want {
			t.Errorf("%q is %q", location, st.Location())
		}
	}
	for name, o := range map[string]target.Options{
		"endpoint with a path": {Endpoint: "https://host/bucket"}, "no endpoint": {Endpoint: "ftp://host"},
		"half a key": {AccessKey: "x"}, "no CA file": {CAFile: "/nowhere"}, "an empty CA file": {CAFile: "/dev/null"},
	} {
		if _, err := target.OpenWith("s3://bucket/x", o); !errors.Is(err, target.ErrLocation) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStorageClasses(t *testing.T) {
	for _, bad := range []string{"manifests=STANDARD_IA", "index=X", "GLACIER", "packs=DEEP_ARCHIVE", "packs=", "a b", "packs=A,packs=B", "A,B", "=A"} {
		if _, err := target.ParseStorageClass(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	fake := s3test.StartFake(t)
	class, err := target.ParseStorageClass("packs=STANDARD_IA, wal=GLACIER_IR")
	if err != nil {
		t.Fatal(err)
	}
	st, err := target.OpenWith(fake.Location("p"), target.Options{
		Endpoint: fake.Endpoint, AccessKey: fake.AccessKey, SecretKey: fake.SecretKey, StorageClass: class, Requests: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"packs/ab/abcd": "STANDARD_IA", "wal/x/y": "GLACIER_IR", "manifests/a": "", "index/a": "", "keys/a": "", "config": "",
	} {
		if err := st.Put(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
		if got := fake.Class("p/" + key); got != want {
			t.Errorf("%s has class %q, want %q", key, got, want)
		}
	}
	if _, ok := storage.As[*s3.Store](st); !ok {
		t.Error("the bucket is not found below its wrappers")
	}
}

// TestFill: what is given first counts, and a key never gets another one's secret.
func TestFill(t *testing.T) {
	o := target.Options{Region: "a", AccessKey: "mine", SecretKey: "s"}
	o.Fill(target.Environment(func(name string) string { return name }))
	if o.Region != "a" || o.Endpoint != "AWS_ENDPOINT_URL_S3" || o.SessionToken != "" || o.AccessKey != "mine" {
		t.Errorf("%+v", o)
	}
}
