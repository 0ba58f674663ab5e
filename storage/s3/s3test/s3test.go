// Package s3test starts a real S3 server for tests: versitygw, as tools/s3server
// builds it, in a process of its own on a directory of the test.
//
// `make test` builds the server when its sources changed. A test that is run by
// hand and does not find it builds it itself, which takes a minute or two, once.
package s3test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Server is a running server with one empty bucket.
type Server struct {
	Endpoint  string // http://127.0.0.1:PORT
	Region    string
	Bucket    string
	AccessKey string // of the account that may do everything
	SecretKey string
	CAFile    string // with TLS: the certificate that signed the server's

	// UserKey belongs to an account that may do what a policy of the bucket says;
	// without one, nothing.
	UserKey, UserSecret string
}

// Option changes how Start starts a server.
type Option func(*options)

type options struct{ tls bool }

// TLS makes the server speak TLS, with a certificate that nobody knows.
func TLS() Option { return func(o *options) { o.tls = true } }

// startLimit bounds how long a server may take until it answers. It is only ever
// reached by one that never will.
const startLimit = time.Minute

// Start starts a server that ends with the test, or with the test's process,
// however that ends.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	var o options
	for _, set := range opts {
		set(&o)
	}
	s := &Server{
		Region: "us-east-1", AccessKey: "owner" + rand.Text()[:8], SecretKey: rand.Text(),
		UserKey: "user" + rand.Text()[:8], UserSecret: rand.Text(),
	}
	args := []string{
		"--root", t.TempDir(), "--access", s.AccessKey, "--secret", s.SecretKey, "--user", s.UserKey + ":" + s.UserSecret,
	}
	if o.tls {
		cert, key := certificate(t)
		s.CAFile = cert
		args = append(args, "--cert", cert, "--key", key)
	}
	s.run(t, args)
	s.Bucket = s.NewBucket(t)
	return s
}

// run starts the process and waits for its address.
func (s *Server) run(t testing.TB, args []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	cmd := exec.Command(program(t), args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe() // closed with this process, and then the server ends
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if line := lines.Text(); strings.HasPrefix(line, "http") {
				address <- line
			}
		}
		close(address)
	}()
	select {
	case s.Endpoint = <-address:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
	}
	if s.Endpoint == "" {
		t.Fatalf("s3server did not start: %s", said.String())
	}
}

// NewBucket makes another empty bucket and returns its name.
func (s *Server) NewBucket(t testing.TB) string {
	t.Helper()
	name := "b-" + strings.ToLower(rand.Text())
	if err := s.Client(t).MakeBucket(context.Background(), name, minio.MakeBucketOptions{Region: s.Region}); err != nil {
		t.Fatalf("make bucket: %v", err)
	}
	return name
}

// SetPolicy sets the policy of the server's bucket, in which BUCKET and USER stand
// for the bucket and the user.
func (s *Server) SetPolicy(t testing.TB, policy string) {
	t.Helper()
	policy = strings.NewReplacer("BUCKET", s.Bucket, "USER", s.UserKey).Replace(policy)
	if err := s.Client(t).SetBucketPolicy(context.Background(), s.Bucket, policy); err != nil {
		t.Fatalf("set policy: %v", err)
	}
}

// Location is what a user gives as the repository.
func (s *Server) Location(prefix string) string { return "s3://" + s.Bucket + "/" + prefix }

// Env has the variables that send a process to this server with all rights.
func (s *Server) Env() []string {
	env := []string{
		"AWS_ENDPOINT_URL=" + s.Endpoint, "AWS_REGION=" + s.Region,
		"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_SESSION_TOKEN=",
	}
	if s.CAFile != "" {
		env = append(env, "AWS_CA_BUNDLE="+s.CAFile)
	}
	return env
}

// Client returns a client with all rights, for what a test does behind the
// product's back.
func (s *Server) Client(t testing.TB) *minio.Core {
	t.Helper()
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	o := &minio.Options{
		Creds:  credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure: u.Scheme == "https", Region: s.Region, BucketLookup: minio.BucketLookupPath,
	}
	if o.Secure {
		o.Transport = transport(t, s.CAFile)
	}
	client, err := minio.NewCore(u.Host, o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// program returns the path of the server's program, and builds it if need be.
func program(t testing.TB) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "build", "bin", "s3server")
	if current(path, filepath.Join(root, "tools", "s3server")) {
		return path
	}
	// make holds a lock, so that tests of several packages do not all build it.
	build := exec.Command("make", "-C", root, "s3server")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make s3server: %v\n%s", err, out)
	}
	return path
}

// current reports whether the program is younger than all its sources.
func current(program, sources string) bool {
	built, err := os.Stat(program)
	if err != nil {
		return false
	}
	entries, err := os.ReadDir(sources)
	if err != nil {
		return false
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.ModTime().After(built.ModTime()) {
			return false
		}
	}
	return true
}

// moduleRoot is the nearest directory at or above the working directory with a
// go.mod: tests run in the directory of their package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}
