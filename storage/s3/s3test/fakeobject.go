package s3test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's entity tags
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (f *Fake) put(w http.ResponseWriter, r *http.Request, key string, fault Fault) {
	conditional := r.Header.Get("If-None-Match") == "*"
	switch {
	case conditional && f.Conditions == Refused:
		fail(w, r, http.StatusNotImplemented, "NotImplemented")
		return
	case !conditional && f.Conditions == Required:
		fail(w, r, http.StatusForbidden, "AccessDenied")
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away: no effect
	}
	if !f.Unverified {
		if code := verify(r.Header, data); code != "" {
			fail(w, r, http.StatusBadRequest, code)
			return
		}
	}
	if fault.Held != nil {
		f.held.Add(1)
		<-fault.Held
		f.held.Add(-1)
	}
	f.mu.Lock()
	_, exists := f.objects[key]
	if conditional && !exists && f.Conditions == Racy {
		f.mu.Unlock()
		f.meet(key)
		f.mu.Lock()
	}
	if conditional && exists && f.Conditions != Ignored {
		f.mu.Unlock()
		fail(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	f.objects[key] = fakeObject{data, r.Header.Get("X-Amz-Checksum-Crc32c"), r.Header.Get("X-Amz-Storage-Class"), time.Now().Add(f.Skew)}
	f.order = append(f.order, key)
	f.mu.Unlock()
	if fault.Lost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("ETag", tag(data))
}

// meetTime is how long a put waits for another one of the same name.
const meetTime = 50 * time.Millisecond

// meet lets puts of one name that come at the same time wait for each other, so
// that each has looked before any is done.
func (f *Fake) meet(key string) {
	f.mu.Lock()
	both, waiting := f.meeting[key]
	if waiting {
		delete(f.meeting, key)
		close(both)
		f.mu.Unlock()
		return
	}
	both = make(chan struct{})
	f.meeting[key] = both
	f.mu.Unlock()
	select {
	case <-both:
	case <-time.After(meetTime):
		f.mu.Lock()
		delete(f.meeting, key)
		f.mu.Unlock()
	}
}

// verify returns the code of the error if a checksum is wrong.
func verify(h http.Header, data []byte) string {
	sha := sha256.Sum256(data)
	if want := h.Get("X-Amz-Content-Sha256"); len(want) == 64 && want != hex.EncodeToString(sha[:]) {
		return "XAmzContentSHA256Mismatch"
	}
	sum := md5.Sum(data) //nolint:gosec // S3's
	if want := h.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum[:]) {
		return "BadDigest"
	}
	crc := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
	if want := h.Get("X-Amz-Checksum-Crc32c"); want != "" && want != base64.StdEncoding.EncodeToString(crc) {
		return "BadDigest"
	}
	return ""
}

func (f *Fake) get(w http.ResponseWriter, r *http.Request, key string, fault Fault) {
	f.mu.Lock()
	o, ok := f.objects[key]
	f.mu.Unlock()
	if !ok {
		fail(w, r, http.StatusNotFound, "NoSuchKey")
		return
	}
	data := o.data
	status := http.StatusOK
	if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && !fault.Whole {
		first, last, _ := strings.Cut(spec, "-")
		begin, _ := strconv.ParseInt(first, 10, 64)
		end, err := strconv.ParseInt(last, 10, 64)
		if err != nil || end >= int64(len(data)) {
			end = int64(len(data)) - 1
		}
		if fault.Shifted {
			begin, end = begin+1, min(end+1, int64(len(data))-1)
		}
		if begin >= int64(len(data)) {
			fail(w, r, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, end, len(data)))
		data, status = data[begin:end+1], http.StatusPartialContent
	} else if o.crc != "" && r.Header.Get("X-Amz-Checksum-Mode") != "" {
		w.Header().Set("X-Amz-Checksum-Crc32c", o.crc)
		w.Header().Set("X-Amz-Checksum-Type", "FULL_OBJECT")
	}
	w.Header().Set("ETag", tag(o.data))
	w.Header().Set("Last-Modified", o.time.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if fault.FlipBody && len(data) > 0 {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
	}
	if fault.Torn {
		_, _ = w.Write(data[:len(data)/2])
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(data)
}

func (f *Fake) remove(w http.ResponseWriter, r *http.Request, key string, fault Fault) {
	if f.NoDelete {
		fail(w, r, http.StatusForbidden, "AccessDenied")
		return
	}
	f.mu.Lock()
	delete(f.objects, key)
	f.mu.Unlock()
	if fault.Lost {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusNoContent)
}
