// Package s3 keeps a repository's objects in a bucket of any S3-compatible
// storage, below a prefix.
//
// An object is one PUT of known size, never a multipart upload: S3 checks the
// condition of a multipart upload only at its end, and some servers and clients
// lose it. The SHA-256 of the bytes is part of the signature, and an MD5 or a
// CRC-32C of them goes along, so the server refuses what was changed on the way.
//
// Write-once rests on If-None-Match: *. Where the target has it (storage.Traits, found
// out by `gpdedup repo probe`), the package comment of storage holds to the letter.
// Where it does not, a Put asks for the object before it writes and reads it again
// afterwards, which leaves a moment in which two writers of one name may both
// believe that they won; objects whose names derive from their bytes are in no
// danger.
//
// A Put whose context ends is cut off before its last byte leaves, so that no
// server can complete it; after that the answer is waited for.
//
// Every operation is one request, but for listings (one per 1000 keys), reads from
// the end of an object (two) and what follows a conflict. There are no retries
// here: storage.NewRetry has the one policy, and the errors say what passes.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/gpdedup/gpdedup/storage"
)

// Options say where the bucket is and how to get at it. Bucket is needed, the rest
// has defaults.
type Options struct {
	Bucket string
	Prefix string // of all keys, without slashes at its ends; empty: the whole bucket

	Endpoint  string // URL; empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or Amazon's of the region
	Region    string // empty: AWS_REGION, AWS_DEFAULT_REGION, or us-east-1
	CAFile    string // PEM file of the authorities to trust instead of the system's; empty: AWS_CA_BUNDLE, or those
	PathStyle *bool  // the bucket in the path, not in the host name; nil: as the endpoint is known to want it

	// AccessKey and SecretKey, and SessionToken with temporary ones. Empty: the usual
	// places, see credentials.go.
	AccessKey, SecretKey, SessionToken string

	// Classes has the storage class of objects by the first component of their keys,
	// "packs" for example. What is not in it gets the bucket's default.
	Classes map[string]string

	// Unique are first components of keys whose names derive from what is stored
	// under them, so that no two writers ever have different bytes for one of them.
	Unique []string

	// Stall is how long a request may make no progress at all; 0: a minute.
	Stall time.Duration

	// Getenv is where the variables above come from; nil: none of them counts.
	Getenv func(string) string
}

// Store is a bucket opened as storage. It is safe for concurrent use.
type Store struct {
	client    *minio.Core
	creds     *credentials.Credentials
	fixed     bool // the credentials cannot be renewed
	bucket    string
	prefix    string // "" or ends in a slash
	endpoint  string // for messages
	classes   map[string]string
	unique    map[string]bool
	transport *transport
	traits    atomic.Pointer[storage.Traits]
	renewed   atomic.Bool // expired credentials were thrown away once
}

var _ storage.Storage = (*Store)(nil)

// ErrOptions: what was given cannot be meant.
var ErrOptions = errors.New("not valid")

// isBucketName reports whether S3 allows the name in new buckets, or did in older
// ones. (A regular expression would take a millisecond of every process's start.)
func isBucketName(s string) bool {
	if len(s) < 3 || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && (i == 0 || i == len(s)-1 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// The client pauses after a failed try even if it is the only one. Retries, and the
// pauses between them, are storage.NewRetry's.
func init() { minio.DefaultRetryUnit = 0 } //nolint:gochecknoinits // before any request

// ParseLocation takes s3://bucket/prefix apart. The prefix may be missing.
func ParseLocation(location string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(location, "s3://")
	if !ok {
		return "", "", fmt.Errorf("location %s: %w: it does not begin with s3://", location, ErrOptions)
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	if !isBucketName(bucket) {
		return "", "", fmt.Errorf("location %s: %w: %q is no name of a bucket", location, ErrOptions, bucket)
	}
	if prefix != "" {
		if err := storage.CheckKey(prefix); err != nil {
			return "", "", fmt.Errorf("location %s: %w: %q is no prefix: letters, digits, . _ - and single slashes", location, ErrOptions, prefix)
		}
	}
	return bucket, prefix, nil
}

// Open returns the storage that o describes. It sends no request.
func Open(o Options) (*Store, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	o.fill()
	u, err := o.url()
	if err != nil {
		return nil, err
	}
	t, err := newTransport(o.CAFile, o.Stall)
	if err != nil {
		return nil, err
	}
	creds, fixed, err := o.credentials()
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	if o.PathStyle != nil {
		lookup = minio.BucketLookupDNS
		if *o.PathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "https", Transport: t,
		// Always said, or the client asks for it before its first request.
		Region: o.Region, BucketLookup: lookup,
		MaxRetries: 1, // retries are storage.NewRetry's
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w: %w", o.Endpoint, ErrOptions, err)
	}
	s := &Store{
		client: client, creds: creds, fixed: fixed, bucket: o.Bucket, endpoint: o.Endpoint,
		classes: o.Classes, unique: make(map[string]bool), transport: t,
	}
	if o.Prefix != "" {
		s.prefix = o.Prefix + "/"
	}
	for _, u := range o.Unique {
		s.unique[u] = true
	}
	s.traits.Store(&storage.Traits{})
	return s, nil
}

// fill completes o from the variables that Amazon's own tools use.
func (o *Options) fill() {
	first := func(dst *string, variables ...string) {
		for _, v := range variables {
			if *dst == "" {
				*dst = o.Getenv(v)
			}
		}
	}
	first(&o.Region, "AWS_REGION", "AWS_DEFAULT_REGION")
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	first(&o.Endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
	if o.Endpoint == "" {
		o.Endpoint = "https://s3." + o.Region + ".amazonaws.com"
	}
	first(&o.CAFile, "AWS_CA_BUNDLE")
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
}

// url checks the endpoint. A host alone means https.
func (o *Options) url() (*url.URL, error) {
	text := o.Endpoint
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("endpoint %q: %w: an endpoint is https://HOST or http://HOST:PORT, without the bucket", o.Endpoint, ErrOptions)
	}
	return u, nil
}

// Location is s3://bucket/prefix.
func (s *Store) Location() string {
	return "s3://" + s.bucket + "/" + strings.TrimSuffix(s.prefix, "/")
}

// Place is Location with the endpoint: what tells two buckets of one name apart.
func (s *Store) Place() string { return s.endpoint + " " + s.Location() }

// Close closes idle connections.
func (s *Store) Close() error {
	s.transport.base.CloseIdleConnections()
	return nil
}

// do runs one operation unless its context has ended or the key is invalid, and
// makes of what went wrong what storage promises.
func (s *Store) do(ctx context.Context, op, key string, f func() error) error {
	check := storage.CheckKey
	if op == "list" {
		check = storage.CheckPrefix
	}
	err := ctx.Err()
	if err == nil {
		err = check(key)
	}
	if err == nil {
		if err = f(); err == nil {
			return nil
		}
		err = s.classify(ctx, op, err)
	}
	return &storage.Error{Op: op, Key: key, Err: err}
}

// object is the name of a key in the bucket.
func (s *Store) object(key string) string { return s.prefix + key }
