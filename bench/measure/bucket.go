//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/process"
	"github.com/gpdedup/gpdedup/bench/internal/results"
)

// s3Server is a server beside the measured processes, as the tests have it, with one bucket.
type s3Server struct {
	pid    int
	stop   func()
	bucket string
	env    []string
}

const serverKey = "measure"

// startServer builds tools/s3server if need be, and starts it.
func (b *bench) startServer(ctx context.Context) (*s3Server, error) {
	if out, err := exec.CommandContext(ctx, "make", "s3server").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the S3 server: %w (run this in the module's root): %s", err, out)
	}
	exe, err := filepath.Abs("build/bin/s3server")
	if err != nil {
		return nil, err
	}
	root, err := b.place.Fresh("server")
	if err != nil {
		return nil, err
	}
	cmd := b.place.Start(ctx, process.Command{Args: []string{exe, "--root", root, "--access", serverKey, "--secret", serverKey}})
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &s3Server{bucket: "measure", pid: cmd.Process.Pid}
	s.stop = func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
	}
	address := ""
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "http://") {
			address = lines.Text()
		}
	}
	client, err := minio.New(strings.TrimPrefix(address, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(serverKey, serverKey, ""), Region: "us-east-1",
	})
	if err == nil {
		err = client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{})
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("start the S3 server: %w", err)
	}
	s.env = []string{
		"AWS_ENDPOINT_URL=" + address, "AWS_ACCESS_KEY_ID=" + serverKey, "AWS_SECRET_ACCESS_KEY=" + serverKey,
		"AWS_REGION=us-east-1", "S3_SECRET=" + serverKey,
	}
	return s, nil
}

// Where a repository lies, and what is done with it beside the phases of a table.
const (
	bucketName    = "bucket"
	directoryName = "directory"
	manyStored    = "store small streams"
	manyRead      = "restore small streams"

	smallStreams  = 500
	smallAtOnce   = 100
	smallByteSize = 1024
)

// buckets measures a bucket of a server on this machine next to a directory.
func (b *bench) buckets(ctx context.Context) (*results.Topic, error) {
	server, err := b.startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	dir, remove, err := b.inputs()
	if err != nil {
		return nil, err
	}
	defer remove()
	file := filepath.Join(dir, "table")
	if err := writeFile(file, &tableSource{bytes: min(b.set.large, 4*b.set.size), seed: 9}); err != nil {
		return nil, err
	}
	t := b.newTopic(b.set.few())
	t.Programs = t.Programs[:1]
	for round := range t.Rounds {
		for _, name := range []string{bucketName, directoryName} {
			progress("  round %d of %d, %s", round+1, t.Rounds, name)
			if err := b.onePlace(ctx, t, name, server, file); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// onePlace measures one place once.
func (b *bench) onePlace(ctx context.Context, t *results.Topic, name string, server *s3Server, file string) (err error) {
	dir, err := b.place.Fresh("repository")
	if err != nil {
		return err
	}
	r := &repository{b: b, dir: dir, path: filepath.Join(dir, "repo"), key: filepath.Join(dir, "key")}
	if name == bucketName {
		r.path, r.env = "s3://"+server.bucket+"/"+filepath.Base(dir), server.env
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.init(ctx); err != nil {
		return err
	}
	h, err := r.host()
	if err != nil {
		return err
	}
	length, err := fileSize(file)
	if err != nil {
		return err
	}
	ts := b.timestamp()
	for _, x := range [][2]string{{first, ts}, {unchanged, b.timestamp()}} {
		if err := errors.Join(h.setUp(ctx, x[1]), b.place.WaitOrphans(ctx, server.pid)); err != nil {
			return err
		}
		u, err := h.backUp(ctx, x[1], 1, contender.Input{File: file})
		if err != nil {
			return err
		}
		t.Run(name, x[0]).Add(u, length)
		if err := errors.Join(h.succeed(ctx, x[1]), b.place.WaitOrphans(ctx, server.pid)); err != nil {
			return err
		}
	}
	u, err := h.restore(ctx, ts, 1, nil)
	if err != nil {
		return err
	}
	t.Run(name, restored).Add(u, length)
	return b.manySmall(ctx, t, name, h)
}

// manySmall stores and restores the small streams, each in a process of its own.
func (b *bench) manySmall(ctx context.Context, t *results.Topic, name string, h *host) error {
	ts, n := b.timestamp(), min(smallStreams, b.set.tables)
	each := func(phase string, what func(ctx context.Context, i int) (process.Usage, error)) error {
		used := make([]process.Usage, n)
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(smallAtOnce)
		begin := time.Now()
		for i := range n {
			g.Go(func() (err error) {
				used[i], err = what(ctx, i)
				return err
			})
		}
		err := g.Wait()
		sum := process.Usage{}
		for _, u := range used {
			sum = sum.Add(u)
		}
		sum.Wall = time.Since(begin)
		run := t.Run(name, phase)
		run.Streams = n
		run.Add(sum, int64(n)*smallByteSize)
		return err
	}
	text := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), smallByteSize/8) }
	if err := each(manyStored, func(ctx context.Context, i int) (process.Usage, error) {
		return h.backUp(ctx, ts, 1000+i, contender.Input{From: bytes.NewReader(text(i))})
	}); err != nil {
		return err
	}
	return each(manyRead, func(ctx context.Context, i int) (process.Usage, error) {
		var out bytes.Buffer
		u, err := h.restore(ctx, ts, 1000+i, &out)
		if err == nil && !bytes.Equal(out.Bytes(), text(i)) {
			err = fmt.Errorf("stream %d came back with other bytes", i)
		}
		return u, err
	})
}
