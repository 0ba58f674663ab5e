package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // against accidents on the way; S3 asks for it
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/gpdedup/gpdedup/storage"
)

// Put stores data with one PUT.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	return s.do(ctx, "put", key, func() error { return s.put(ctx, key, data) })
}

// puts bounds how often a Put begins anew because the object that was in its way
// was deleted meanwhile.
const puts = 4

func (s *Store) put(ctx context.Context, key string, data []byte) error {
	for range puts {
		err := s.putOnce(ctx, key, data)
		if !errors.Is(err, errVanished) {
			return err
		}
	}
	return fmt.Errorf("gave up after %d tries: %w", puts, errVanished)
}

var errVanished = errors.New("the object that is in the way comes and goes")

func (s *Store) putOnce(ctx context.Context, key string, data []byte) error {
	first, _, _ := strings.Cut(key, "/")
	// Careful where a PUT may replace: where there is no condition, or nobody knows
	// whether there is. Names that derive from the content need no care.
	careful := s.Traits().ConditionalPut != storage.Yes && !s.unique[first]
	if careful {
		err := s.compare(ctx, key, data)
		if !errors.Is(err, errVanished) {
			return err
		}
	}
	err := s.send(ctx, key, data, s.Traits().ConditionalPut != storage.No)
	if isRefusedCondition(err) && s.Traits().ConditionalPut == storage.Unknown {
		s.withoutCondition()
		err = s.send(ctx, key, data, false)
	}
	switch {
	case isStatus(err, http.StatusPreconditionFailed):
		// Somebody's object, or our own, whose acknowledgement got lost.
		return s.compare(ctx, key, data)
	case err != nil && ctx.Err() == nil && isUnanswered(err):
		// The answer got lost, or never came: a server that refuses a PUT need not
		// read it to its end, and then closes the connection under our hands. What
		// lies there now tells, without sending everything again.
		if found := s.compare(ctx, key, data); found == nil || errors.Is(found, storage.ErrExists) {
			return found
		}
		return err
	case err != nil:
		return err
	case careful:
		// Another writer may have put its own after we looked; the last PUT wins, and
		// every writer that reads afterwards sees the same.
		if err := s.compare(context.WithoutCancel(ctx), key, data); err != nil {
			return fmt.Errorf("read back after the put: %w", err)
		}
	}
	return nil
}

// send is the PUT itself. Whatever the checksums are called, the bytes are hashed
// here, from the caller's memory, so they cover the whole way.
func (s *Store) send(ctx context.Context, key string, data []byte, conditional bool) error {
	sums := checksums(data, s.Traits().CRC32C == storage.Yes)
	return s.sendWith(ctx, key, data, conditional, sums)
}

// sums are what goes along with the bytes; empty ones do not.
type sums struct{ sha256, md5, crc32c string }

func checksums(data []byte, crc bool) sums {
	sha := sha256.Sum256(data)
	out := sums{sha256: hex.EncodeToString(sha[:])}
	if crc {
		// A tenth of the work of MD5. Servers that do not know it ignore it.
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
		out.crc32c = base64.StdEncoding.EncodeToString(sum)
	} else {
		sum := md5.Sum(data) //nolint:gosec // see above
		out.md5 = base64.StdEncoding.EncodeToString(sum[:])
	}
	return out
}

func (s *Store) sendWith(ctx context.Context, key string, data []byte, conditional bool, sum sums) error {
	first, _, _ := strings.Cut(key, "/")
	o := minio.PutObjectOptions{
		StorageClass: s.classes[first],
		// The hash of the whole is in the signature, over TLS and without it; else
		// the body would be signed piece by piece, which not every server takes.
		DisableContentSha256: true,
	}
	if conditional {
		o.SetMatchETagExcept("*")
	}
	if sum.crc32c != "" {
		o.UserMetadata = map[string]string{"x-amz-checksum-crc32c": sum.crc32c}
	}
	body, request, release := newUpload(ctx, data)
	defer release()
	_, err := s.client.PutObject(request, s.bucket, s.object(key), body, int64(len(data)), sum.md5, sum.sha256, o)
	if ended := body.err(); ended != nil {
		return ended
	}
	return err
}

// compare returns nil if the object under key consists of data, ErrExists if of
// other bytes, and errVanished if there is none.
func (s *Store) compare(ctx context.Context, key string, data []byte) error {
	body, info, _, err := s.client.GetObject(ctx, s.bucket, s.object(key), minio.GetObjectOptions{})
	if isAbsent(err) {
		return errVanished
	}
	if err != nil {
		return fmt.Errorf("compare with what is there: %w", err)
	}
	defer body.Close()
	if info.Size != int64(len(data)) {
		return fmt.Errorf("%w: %d bytes are there, %d were to be stored", storage.ErrExists, info.Size, len(data))
	}
	buf := make([]byte, min(len(data), 64<<10))
	for rest := data; len(rest) > 0; {
		n, err := io.ReadFull(body, buf[:min(len(buf), len(rest))])
		if err != nil {
			return fmt.Errorf("compare with what is there: %w", err)
		}
		if !bytes.Equal(buf[:n], rest[:n]) {
			return storage.ErrExists
		}
		rest = rest[n:]
	}
	return nil
}

// CheckWritable finds out whether objects can be written, without writing any: it
// puts the config once more, as it is, where a condition keeps that from replacing
// it. Where there is no condition, or no config, nothing is found out.
func (s *Store) CheckWritable(ctx context.Context) error {
	const config = "config"
	if s.Traits().ConditionalPut != storage.Yes {
		return nil
	}
	data, err := s.Get(ctx, config, -1)
	if errors.Is(err, storage.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.Put(ctx, config, data)
	}
	if err != nil {
		return fmt.Errorf("check that the repository can be written to: %w", err)
	}
	return nil
}
