// Package target opens the storage that a user names.
package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/storage"
	"github.com/gpdedup/gpdedup/storage/local"
	"github.com/gpdedup/gpdedup/storage/s3"
)

// ErrLocation: what was given is no location that this version knows, or what goes
// with it cannot be meant.
var ErrLocation = errors.New("not a location")

// ErrExposed: what was given for a new repository is open to everybody.
var ErrExposed = errors.New("everybody may change what is in the directory")

// Options say how a storage is to be used. The zero Options are fine for a
// directory, and for a bucket that the environment describes.
type Options struct {
	// Of a bucket; see s3.Options. Empty ones are taken from the variables that
	// Amazon's own tools use.
	Endpoint, Region, CAFile           string
	PathStyle                          *bool
	AccessKey, SecretKey, SessionToken string
	StorageClass                       StorageClass

	Requests int // at a time, of this process; 0: any number
	// Patience is how long a bucket may be away before commands give up; 0: 5
	// minutes. Before the first answer it is 20 seconds at most.
	Patience time.Duration

	// Of any storage, in bytes per second of this process; zero sets no limit.
	LimitUpload, LimitDownload int64

	Getenv func(string) string // nil: os.Getenv
	// Notify, if set, hears of every failure that will be tried again.
	Notify func(op, key string, attempt int, err error)
}

// Open returns the storage at location, which must exist: a directory's path, or
// s3://bucket/prefix.
func Open(location string) (storage.Storage, error) { return OpenWith(location, Options{}) }

// OpenWith is Open with options. Whether a bucket exists shows with the first
// request.
func OpenWith(location string, o Options) (storage.Storage, error) {
	if IsBucket(location) {
		return openBucket(location, o)
	}
	path, err := directory(location)
	if err != nil {
		return nil, err
	}
	st, err := local.Open(path)
	if err != nil {
		return nil, err
	}
	return o.limit(st, 0), nil
}

// Create returns the storage at location for a new repository; see CreateWith.
func Create(location string) (storage.Storage, error) { return CreateWith(location, Options{}) }

// CreateWith returns the storage at location for a new repository. A directory is
// made if it is missing, and refused if anything is in it, or if everybody may write
// in it: what a repository makes there would get the same permissions. A bucket must
// exist.
func CreateWith(location string, o Options) (storage.Storage, error) {
	if IsBucket(location) {
		return openBucket(location, o)
	}
	path, err := directory(location)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("%s: %w: its mode is %04o", location, ErrExposed, info.Mode().Perm())
	}
	st, err := local.Create(path)
	if err != nil {
		return nil, err
	}
	return o.limit(st, 0), nil
}

// IsBucket reports whether location names a bucket, not a directory.
func IsBucket(location string) bool { return strings.HasPrefix(location, "s3://") }

// How long operations on a bucket are tried: a storage may be away for minutes in
// the middle of a backup of hours, but a wrong endpoint should not take minutes to
// show.
const (
	patience = 5 * time.Minute
	greeting = 20 * time.Second
	attempts = 1000 // time decides
)

// contentNamed are the kinds of objects whose names derive from their content.
var contentNamed = []string{"packs", "index"}

func openBucket(location string, o Options) (storage.Storage, error) {
	bucket, prefix, err := s3.ParseLocation(location)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w: %w", ErrLocation, err)
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Patience <= 0 {
		o.Patience = patience
	}
	st, err := s3.Open(s3.Options{
		Bucket: bucket, Prefix: prefix, Endpoint: o.Endpoint, Region: o.Region, CAFile: o.CAFile, PathStyle: o.PathStyle,
		AccessKey: o.AccessKey, SecretKey: o.SecretKey, SessionToken: o.SessionToken,
		Classes: o.StorageClass.classes, Unique: contentNamed, Getenv: o.Getenv,
	})
	if err != nil {
		return nil, fmt.Errorf("open repository: %w: %w", ErrLocation, err)
	}
	return storage.NewRetry(o.limit(st, o.Requests), storage.Policy{
		Attempts: attempts, Patience: o.Patience, Greeting: min(greeting, o.Patience), Notify: o.Notify,
	}), nil
}

func (o *Options) limit(st storage.Storage, requests int) storage.Storage {
	if o.LimitUpload <= 0 && o.LimitDownload <= 0 && requests <= 0 {
		return st
	}
	return storage.NewLimit(st, storage.Limits{Upload: o.LimitUpload, Download: o.LimitDownload, Requests: requests})
}

// Environment returns what the environment says of buckets.
func Environment(getenv func(string) string) Options {
	first := func(variables ...string) string {
		for _, v := range variables {
			if value := getenv(v); value != "" {
				return value
			}
		}
		return ""
	}
	o := Options{
		Endpoint: first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), Region: first("AWS_REGION", "AWS_DEFAULT_REGION"),
		CAFile:    getenv("AWS_CA_BUNDLE"),
		AccessKey: getenv("AWS_ACCESS_KEY_ID"), SecretKey: getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: getenv("AWS_SESSION_TOKEN"),
	}
	if o.AccessKey == "" || o.SecretKey == "" {
		o.AccessKey, o.SecretKey, o.SessionToken = "", "", ""
	}
	return o
}

// Fill takes what is still open in o from p. The access key counts with all that
// belongs to it.
func (o *Options) Fill(p Options) {
	for _, f := range []struct {
		dst *string
		src string
	}{{&o.Endpoint, p.Endpoint}, {&o.Region, p.Region}, {&o.CAFile, p.CAFile}} {
		if *f.dst == "" {
			*f.dst = f.src
		}
	}
	if o.PathStyle == nil {
		o.PathStyle = p.PathStyle
	}
	if o.AccessKey == "" && o.SecretKey == "" && o.SessionToken == "" {
		o.AccessKey, o.SecretKey, o.SessionToken = p.AccessKey, p.SecretKey, p.SessionToken
	}
	if len(o.StorageClass.classes) == 0 {
		o.StorageClass = p.StorageClass
	}
	if o.LimitUpload == 0 {
		o.LimitUpload = p.LimitUpload
	}
	if o.LimitDownload == 0 {
		o.LimitDownload = p.LimitDownload
	}
	if o.Requests == 0 {
		o.Requests = p.Requests
	}
	if o.Patience == 0 {
		o.Patience = p.Patience
	}
}

// schemeOf returns what of the location names a kind of storage, with what separates it.
func schemeOf(location string) string {
	if !strings.Contains(location, ":") {
		return "" // and nothing need be compiled
	}
	return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:(//)?`).FindString(location)
}

func directory(location string) (string, error) {
	if location == "" {
		return "", fmt.Errorf("open repository: %w: it is empty", ErrLocation)
	}
	// Without slashes too: "s3:bucket" would be a directory of that name.
	if s := schemeOf(location); s != "" {
		return "", fmt.Errorf("open repository: %s: %w: this version knows directories and s3://BUCKET/PREFIX, not %s (a directory of that name is ./%s)",
			location, ErrLocation, s, location)
	}
	path, err := filepath.Abs(location)
	if err != nil {
		return "", fmt.Errorf("open repository: %w", err)
	}
	return path, nil
}
