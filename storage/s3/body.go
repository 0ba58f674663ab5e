package s3

import (
	"context"
	"errors"
	"io"
	"sync"
)

// upload is the body of a PUT. It ties the request to the caller's context until
// its last byte has been handed out, and no longer: a server that has all bytes may
// complete the object whether we stay to hear of it or not.
type upload struct {
	data   []byte
	cancel context.CancelFunc // of the request

	mu     sync.Mutex
	offset int
	ended  error // the caller's context ended in time
}

// newUpload returns the body and the context for its request. release must be
// called when the request is over.
func newUpload(ctx context.Context, data []byte) (u *upload, request context.Context, release func()) {
	request, cancel := context.WithCancel(context.WithoutCancel(ctx))
	u = &upload{data: data, cancel: cancel}
	stop := context.AfterFunc(ctx, func() { u.abandon(ctx.Err()) })
	return u, request, func() { stop(); cancel() }
}

// abandon ends the request unless everything is under way.
func (u *upload) abandon(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	// An object of no bytes is complete with its headers, so there is no moment at
	// which it could be cut off.
	if u.offset == len(u.data) {
		return
	}
	u.ended = err
	u.cancel()
}

// err is the caller's reason to give up, if that came in time.
func (u *upload) err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ended
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		return 0, u.ended
	}
	if u.offset == len(u.data) {
		return 0, io.EOF
	}
	n := copy(p, u.data[u.offset:])
	u.offset += n
	return n, nil
}

// Seek goes back to the beginning, which is all that the client asks for.
func (u *upload) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.New("seek: only to the beginning")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.offset = 0
	return 0, nil
}
