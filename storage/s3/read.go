package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/gpdedup/gpdedup/storage"
)

// Read fills dst from the object, with one ranged GET.
func (s *Store) Read(ctx context.Context, key string, offset int64, dst []byte) error {
	return s.do(ctx, "read", key, func() error { return s.read(ctx, key, offset, dst) })
}

func (s *Store) read(ctx context.Context, key string, offset int64, dst []byte) error {
	// A range cannot be empty, and one that counts from the end is cut to the object
	// without a word, so for these the size is asked for first.
	if offset < 0 || len(dst) == 0 {
		info, err := s.stat(ctx, key)
		if err != nil {
			return err
		}
		if offset < 0 {
			offset += info.Size
		}
		if offset < 0 || offset > info.Size-int64(len(dst)) {
			return fmt.Errorf("%w: %d bytes", storage.ErrShort, info.Size)
		}
		if len(dst) == 0 {
			return nil
		}
	}
	if offset > math.MaxInt64-int64(len(dst)) {
		return fmt.Errorf("%w: nothing is that long", storage.ErrShort)
	}
	var o minio.GetObjectOptions
	if err := o.SetRange(offset, offset+int64(len(dst))-1); err != nil {
		return err
	}
	body, _, header, err := s.client.GetObject(ctx, s.bucket, s.object(key), o)
	if isStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		return fmt.Errorf("%w: it ends before byte %d", storage.ErrShort, offset)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	begin, size, ranged, err := contentRange(header)
	if err != nil {
		return err
	}
	switch {
	case !ranged:
		// The server sends the whole object. What it is not asked for is skipped,
		// rather than taken for the range.
		if size >= 0 && size < offset+int64(len(dst)) {
			return fmt.Errorf("%w: %d bytes", storage.ErrShort, size)
		}
		if _, err := io.CopyN(io.Discard, body, offset); err != nil {
			return fmt.Errorf("skip to byte %d: %w", offset, err)
		}
	case begin != offset:
		return fmt.Errorf("the answer begins at byte %d, not at %d", begin, offset)
	case size >= 0 && size < offset+int64(len(dst)):
		return fmt.Errorf("%w: %d bytes", storage.ErrShort, size)
	}
	if _, err := io.ReadFull(body, dst); err != nil {
		// Not ErrShort: the object is long enough, the answer was cut off.
		return fmt.Errorf("the answer broke off: %w", err)
	}
	return nil
}

// contentRange says where in an object of which size the body of an answer begins;
// size is −1 where the server does not say.
func contentRange(h http.Header) (begin, size int64, ranged bool, err error) {
	text := h.Get("Content-Range")
	if text == "" {
		size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
		if err != nil {
			size = -1
		}
		return 0, size, false, nil
	}
	span, total, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, _, dash := strings.Cut(span, "-")
	if begin, err = strconv.ParseInt(first, 10, 64); err != nil || !ok || !dash {
		return 0, 0, false, fmt.Errorf("the answer has the range %q", text)
	}
	if size, err = strconv.ParseInt(total, 10, 64); err != nil {
		size = -1
	}
	return begin, size, true, nil
}

// Get returns the whole object, with one GET.
func (s *Store) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	var data []byte
	err := s.do(ctx, "get", key, func() (err error) {
		data, err = s.get(ctx, key, limit)
		return err
	})
	return data, err
}

func (s *Store) get(ctx context.Context, key string, limit int64) ([]byte, error) {
	// With Checksum the client compares the bytes with the checksum that the server
	// keeps of them, if it does. (It cannot for a range.)
	o := minio.GetObjectOptions{Checksum: true}
	body, _, header, err := s.client.GetObject(ctx, s.bucket, s.object(key), o)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	size, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || size < 0 {
		return nil, errors.New("the answer does not say how long the object is")
	}
	if limit >= 0 && size > limit {
		return nil, fmt.Errorf("%w: %d bytes, expected at most %d", storage.ErrTooLong, size, limit)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	// Only at the end is the checksum compared.
	if n, err := io.Copy(io.Discard, body); err != nil || n != 0 {
		return nil, fmt.Errorf("the answer is not the object: %d bytes too many, %w", n, err)
	}
	return data, nil
}

// Stat describes the object. It asks for the first byte, not for the head: only the
// answer to a GET tells an absent object from an absent bucket.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	var info storage.Info
	err := s.do(ctx, "stat", key, func() (err error) {
		info, err = s.stat(ctx, key)
		return err
	})
	return info, err
}

func (s *Store) stat(ctx context.Context, key string) (storage.Info, error) {
	var o minio.GetObjectOptions
	if err := o.SetRange(0, 0); err != nil {
		return storage.Info{}, err
	}
	body, info, header, err := s.client.GetObject(ctx, s.bucket, s.object(key), o)
	if isStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		// There is no first byte.
		head, err := s.client.StatObject(ctx, s.bucket, s.object(key), minio.StatObjectOptions{})
		return storage.Info{Key: key, Size: head.Size, ModTime: head.LastModified}, err
	}
	if err != nil {
		return storage.Info{}, err
	}
	defer body.Close()
	_, size, ranged, err := contentRange(header)
	if err != nil {
		return storage.Info{}, err
	}
	if ranged {
		// So that the connection can be used again.
		if _, err := io.Copy(io.Discard, body); err != nil {
			return storage.Info{}, fmt.Errorf("the answer broke off: %w", err)
		}
	}
	if size < 0 {
		return storage.Info{}, errors.New("the answer does not say how long the object is")
	}
	return storage.Info{Key: key, Size: size, ModTime: modTime(info.LastModified)}, nil
}

func modTime(t time.Time) time.Time { return t.UTC() }
