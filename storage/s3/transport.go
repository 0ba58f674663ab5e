package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// transport sends the requests. It ends those that make no progress, and does not
// let through what is no answer of an S3 server although it looks like one: "there
// is no such object" and "there are no objects" are what a repository acts upon.
type transport struct {
	base  *http.Transport
	stall time.Duration
	skew  atomic.Int64 // the server's clock less ours, in nanoseconds
	heard atomic.Bool  // skew is known
}

func newTransport(caFile string, stall time.Duration) (*transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w: %w", ErrOptions, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s: %w: it holds no certificate in PEM form", caFile, ErrOptions)
		}
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}
	const buffer = 64 << 10 // of a connection, each way
	return &transport{stall: stall, base: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 15 * time.Second,
		// One connection to a transfer: with HTTP/2 all would share one.
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		WriteBufferSize:     buffer,
		ReadBufferSize:      buffer,
		DisableCompression:  true, // bytes are to come as they are stored
	}}, nil
}

// errStalled ends a request on which nothing moved.
var errStalled = errors.New("nothing was sent or received")

// RoundTrip sends one request.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	w := &watch{cancel: cancel, limit: t.stall}
	w.timer = time.AfterFunc(t.stall, w.fire)
	request = request.WithContext(ctx)
	if request.Body != nil {
		request.Body = &watchedBody{request.Body, w, false}
	}
	response, err := t.base.RoundTrip(request)
	if err == nil {
		w.moved()
		response.Body = &watchedBody{response.Body, w, true}
		t.hear(response)
		err = vet(request, response)
		if err != nil {
			_ = response.Body.Close() // which also ends the watch
		}
	}
	if err != nil {
		w.end()
		return nil, w.explain(err)
	}
	return response, nil
}

// hear notes what the server believes the time to be.
func (t *transport) hear(response *http.Response) {
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		t.skew.Store(int64(time.Until(date)))
		t.heard.Store(true)
	}
}

// errForeign: the answer is not that of an S3 server, whatever sent it.
var errForeign = errors.New("the answer is not one of an S3 server")

const (
	maxErrorBody = 64 << 10
	listPeek     = 1 << 10
)

// vet refuses answers that a proxy, a login page or a broken server gave in the
// place of the S3 server.
func vet(request *http.Request, response *http.Response) error {
	switch {
	case response.StatusCode == http.StatusNotFound && request.Method != http.MethodHead:
		// The client takes every 404 for an absent object.
		body, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
		if err != nil {
			return err
		}
		var said struct {
			XMLName xml.Name `xml:"Error"`
			Code    string   `xml:"Code"`
		}
		if xml.Unmarshal(body, &said) != nil || said.Code == "" {
			return fmt.Errorf("%w: status 404 without an S3 error", errForeign)
		}
		response.Body = &replaced{bytes.NewReader(body), response.Body}
	case response.StatusCode == http.StatusOK && request.URL.Query().Get("list-type") == "2":
		// The client takes every document for a listing, and most for an empty one.
		body := bufio.NewReaderSize(response.Body, listPeek)
		begin, err := body.Peek(listPeek)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Contains(begin, []byte("<ListBucketResult")) {
			return fmt.Errorf("%w: no listing", errForeign)
		}
		response.Body = &replaced{body, response.Body}
	case response.StatusCode == http.StatusOK || response.StatusCode == http.StatusPartialContent:
		// That an object is there, or was stored, is said with its tag. A login page
		// has status 200 too.
		switch request.Method {
		case http.MethodGet, http.MethodHead, http.MethodPut:
			if response.Header.Get("ETag") == "" {
				return fmt.Errorf("%w: no entity tag", errForeign)
			}
		}
	}
	return nil
}

// replaced reads from another place than it closes.
type replaced struct {
	io.Reader
	io.Closer
}

// watch ends a request when nothing moved for limit.
type watch struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
	fired  atomic.Bool
}

func (w *watch) fire() {
	w.fired.Store(true)
	w.cancel(errStalled)
}

func (w *watch) moved() { w.timer.Reset(w.limit) }

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain says why a request ended that the watch ended.
func (w *watch) explain(err error) error {
	if w.fired.Load() {
		return fmt.Errorf("%w for %s", errStalled, w.limit)
	}
	return err
}

// watchedBody tells the watch of every byte that moves. answer is the last body of
// a request, whose end is the end of the watch.
type watchedBody struct {
	io.ReadCloser
	watch  *watch
	answer bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.moved()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.watch.explain(err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.answer {
		b.watch.end()
	}
	return err
}
