package s3test

import (
	"crypto/md5" //nolint:gosec // S3's entity tags
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Condition is what a fake makes of If-None-Match: * on a PUT.
type Condition int

// What servers make of it.
const (
	Atomic   Condition = iota // obeys
	Required                  // obeys, and refuses a PUT without it, as a bucket policy can
	Ignored                   // replaces, without a word
	Refused                   // answers 501
	Racy                      // obeys, but looks first and puts later, as others do meanwhile
)

// Fault is what goes wrong with one request. The zero Fault is nothing.
type Fault struct {
	Block <-chan struct{} // first wait for this, or the end of the request

	Cut      bool   // close the connection instead of an answer, before any effect
	Status   int    // answer this instead, before any effect
	Code     string // of the error; with Status
	Region   string // x-amz-bucket-region; with Status
	Plain    bool   // no S3 error but a web page; with Status
	Lost     bool   // have the effect, then close the connection
	Torn     bool   // send half of the body, then close the connection
	FlipBody bool   // send the body with a wrong bit
	Empty    bool   // answer 200 with a web page
	Whole    bool   // send the whole object, whatever range is asked for
	Shifted  bool   // send a range that begins a byte later, and say so

	Held <-chan struct{} // wait for this when all of a PUT is here, before its effect
}

// Fake is an S3 server within the test's process, with the faults that real ones
// have. It looks at the access key, not at the signature.
type Fake struct {
	Server // UserKey works like AccessKey; there are no policies

	Conditions Condition
	PageSize   int           // keys in a page of a listing; 0: 1000
	Unverified bool          // does not look at checksums
	Late       int           // a listing does not show the last so many objects
	NoDelete   bool          // refuses DELETE
	Skew       time.Duration // of its clock

	mu      sync.Mutex
	hook    func(kind, key string) Fault
	objects map[string]fakeObject
	order   []string // of objects, as they were put
	counts  map[string]int
	log     []string
	held    atomic.Int64
	meeting map[string]chan struct{} // puts that wait for another one, by name
}

type fakeObject struct {
	data  []byte
	crc   string
	class string
	time  time.Time
}

// SetHook makes hook decide on the fault of every request from now on; nil ends
// that. kind is "PUT", "GET", "HEAD", "DELETE" or "LIST", key the object's name or
// the prefix. It is called from many goroutines.
func (f *Fake) SetHook(hook func(kind, key string) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// StartFake starts a fake with an empty bucket. Its fields may be set until the
// first request.
func StartFake(t testing.TB) *Fake {
	t.Helper()
	f := &Fake{
		Server:  Server{Region: "us-east-1", Bucket: "bucket", AccessKey: "owner", SecretKey: "secret", UserKey: "user", UserSecret: "secret"},
		objects: make(map[string]fakeObject), counts: make(map[string]int), meeting: make(map[string]chan struct{}),
	}
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = nil
	server.Start()
	t.Cleanup(server.Close)
	f.Endpoint = server.URL
	return f
}

// Counts returns how many requests there were since the last call, by kind.
func (f *Fake) Counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := f.counts
	f.counts, f.log = make(map[string]int), nil
	return counts
}

// Log returns the requests since the last call of Counts, as "KIND key".
func (f *Fake) Log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

// Held returns how many puts are being held.
func (f *Fake) Held() int { return int(f.held.Load()) }

// Object returns the bytes under a name in the bucket.
func (f *Fake) Object(name string) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.objects[name]
	return o.data, ok
}

// Replace puts bytes under a name, whatever is there.
func (f *Fake) Replace(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[name] = fakeObject{data: data, time: time.Now()}
}

// Class returns the storage class that an object was put with.
func (f *Fake) Class(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects[name].class
}

// Objects returns how many objects there are.
func (f *Fake) Objects() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.objects)
}

// ServeHTTP answers one request.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if strings.HasPrefix(r.Host, f.Bucket+".") { // the bucket in the host name
		bucket, key = f.Bucket, strings.TrimPrefix(r.URL.Path, "/")
	}
	kind := r.Method
	if kind == http.MethodGet && key == "" {
		kind, key = "LIST", r.URL.Query().Get("prefix")
	}
	f.mu.Lock()
	f.counts[kind]++
	f.log = append(f.log, kind+" "+key)
	hook := f.hook
	f.mu.Unlock()
	w.Header().Set("Date", time.Now().Add(f.Skew).UTC().Format(http.TimeFormat))
	var fault Fault
	if hook != nil {
		fault = hook(kind, key)
	}
	if fault.Block != nil {
		select {
		case <-fault.Block:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case fault.Cut:
		panic(http.ErrAbortHandler)
	case fault.Status != 0:
		w.Header().Set("X-Amz-Bucket-Region", fault.Region)
		if fault.Plain {
			w.WriteHeader(fault.Status)
			_, _ = io.WriteString(w, "<html><body>Sorry</body></html>")
			return
		}
		fail(w, r, fault.Status, fault.Code)
		return
	case fault.Empty:
		_, _ = io.WriteString(w, "<html><body>Please log in</body></html>")
		return
	case !f.known(r):
		fail(w, r, http.StatusForbidden, "InvalidAccessKeyId")
		return
	case f.Skew > 15*time.Minute || f.Skew < -15*time.Minute:
		fail(w, r, http.StatusForbidden, "RequestTimeTooSkewed")
		return
	case bucket != f.Bucket:
		fail(w, r, http.StatusNotFound, "NoSuchBucket")
		return
	}
	switch kind {
	case http.MethodPut:
		f.put(w, r, key, fault)
	case http.MethodGet, http.MethodHead:
		f.get(w, r, key, fault)
	case "LIST":
		f.list(w, r, key, fault)
	case http.MethodDelete:
		f.remove(w, r, key, fault)
	default:
		fail(w, r, http.StatusNotImplemented, "NotImplemented")
	}
}

func (f *Fake) known(r *http.Request) bool {
	sign := r.Header.Get("Authorization")
	return strings.Contains(sign, "Credential="+f.AccessKey+"/") || strings.Contains(sign, "Credential="+f.UserKey+"/")
}

func tag(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // S3's
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

type errorDocument struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

func fail(w http.ResponseWriter, r *http.Request, status int, code string) {
	body, err := xml.Marshal(errorDocument{Code: code, Message: "the fake says " + code})
	if err != nil {
		panic(errors.Join(http.ErrAbortHandler, err))
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// escape is how keys are written in listings.
func escape(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "+", "%20") }
