package s3

import (
	"context"
	"net/http"

	"github.com/gpdedup/gpdedup/storage"
)

// RefusesWrong puts data under key with a wrong checksum, "sha256", "md5" or
// "crc32c", and reports whether the server refused it. It is for probes.
func (s *Store) RefusesWrong(ctx context.Context, key, kind string, data []byte) (refused bool, err error) {
	err = s.do(ctx, "put", key, func() error {
		right, wrong := checksums(data, kind == "crc32c"), checksums(append(data[:len(data):len(data)], 0), kind == "crc32c")
		switch kind {
		case "sha256":
			right.sha256 = wrong.sha256
		case "md5":
			right.md5 = wrong.md5
		case "crc32c":
			right.crc32c = wrong.crc32c
		}
		err := s.sendWith(ctx, key, data, s.Traits().ConditionalPut == storage.Yes, right)
		// A server may say that in several ways, all of them of status 400.
		if isStatus(err, http.StatusBadRequest) {
			refused = true
			return nil
		}
		return err
	})
	return refused, err
}
