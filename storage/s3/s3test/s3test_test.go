package s3test_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/gpdedup/gpdedup/storage/s3/s3test"
)

// TestServer: what the tests rely on. A conditional PUT that is not atomic, or a
// checksum that is not verified, would make them prove nothing.
func TestServer(t *testing.T) {
	for name, opts := range map[string][]s3test.Option{"plain": nil, "TLS": {s3test.TLS()}} {
		t.Run(name, func(t *testing.T) {
			s := s3test.Start(t, opts...)
			c := s.Client(t)
			ctx := context.Background()
			put := func(body string) error {
				var o minio.PutObjectOptions
				o.SetMatchETagExcept("*")
				_, err := c.PutObject(ctx, s.Bucket, "a/b", bytes.NewReader([]byte(body)), int64(len(body)), "", "", o)
				return err
			}
			if err := put("one"); err != nil {
				t.Fatal(err)
			}
			if err := put("two"); minio.ToErrorResponse(err).StatusCode != 412 {
				t.Fatalf("second conditional put: %v", err)
			}
			body, _, _, err := c.GetObject(ctx, s.Bucket, "a/b", minio.GetObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || string(got) != "one" {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}
