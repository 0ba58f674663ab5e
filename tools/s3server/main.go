// Command s3server is an S3 server for tests: versitygw on a directory, as one
// process that listens on a port of its own choice on the loopback interface.
//
//	s3server --root DIR --access NAME --secret SECRET [--user NAME:SECRET] [--cert FILE --key FILE]
//
// It prints its address on a line of its own once it answers, and ends when its
// standard input does, so that it never outlives the test that started it. It is a
// module of its own: what versitygw needs is none of the product's business.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pkg/xattr"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var (
		flags  = flag.NewFlagSet("s3server", flag.ContinueOnError)
		root   = flags.String("root", "", "directory whose folders are the buckets; must exist")
		access = flags.String("access", "", "access key of the account that may do everything")
		secret = flags.String("secret", "", "its secret")
		cert   = flags.String("cert", "", "certificate file: TLS")
		key    = flags.String("key", "", "its key")
		users  accounts
	)
	flags.Var(&users, "user", "NAME:SECRET of an account that may do what a bucket's policy says")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := filepath.Abs(*root) // the gateway changes its directory
	if err != nil {
		return err
	}
	store, opts, err := metadata(dir)
	if err != nil {
		return err
	}
	opts.NewDirPerm, opts.Concurrency = 0o755, 200
	be, err := posix.New(filepath.Join(dir, "buckets"), store, opts)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0) // nothing here is worth an orderly end
	}()
	cfg := embedgw.Config{
		RootUserAccess: *access, RootUserSecret: *secret, IAMService: users,
		MaxConnections: 4000, MaxRequests: 2000, MultipartMaxParts: 10000,
		CertFile: *cert, KeyFile: *key,
		Quiet: true, KeepAlive: true, DisableACLs: true,
	}
	for range 10 {
		// The port is free now. If somebody takes it first, the gateway fails, or the
		// health path, which nobody else knows, does not answer: another port, then.
		if err = freePort(&cfg); err != nil {
			return err
		}
		healthy, stop := context.WithCancel(ctx)
		go announce(healthy, cfg)
		err = embedgw.RunVersityGW(ctx, be, &cfg)
		stop()
	}
	return err
}

// metadata chooses where the gateway keeps what it knows of objects beside their
// bytes: in extended attributes where the file system has them, else in files.
func metadata(dir string) (meta.MetadataStorer, posix.PosixOpts, error) {
	for _, sub := range []string{"buckets", "sidecar"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, posix.PosixOpts{}, err
		}
	}
	if xattr.Set(filepath.Join(dir, "sidecar"), "user.probe", []byte("x")) == nil {
		return meta.XattrMeta{}, posix.PosixOpts{}, nil
	}
	sidecar := filepath.Join(dir, "sidecar")
	store, err := meta.NewSideCar(sidecar)
	return store, posix.PosixOpts{SideCarDir: sidecar}, err
}

func freePort(cfg *embedgw.Config) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg.Ports = []string{l.Addr().String()}
	cfg.HealthPath = "/health-" + rand.Text()
	return l.Close()
}

// announce prints the address once the server answers there.
func announce(ctx context.Context, cfg embedgw.Config) {
	scheme := "http://"
	if cfg.CertFile != "" {
		scheme = "https://"
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		// Whose certificate that is does not matter here; whether it is our server does.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}}
	for ctx.Err() == nil {
		response, err := client.Get(scheme + cfg.Ports[0] + cfg.HealthPath)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				fmt.Println(scheme + cfg.Ports[0])
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

var errUser = errors.New("an account is NAME:SECRET")
