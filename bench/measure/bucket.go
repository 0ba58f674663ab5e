//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"
)

// s3Server is a server beside the measured processes, as the tests have it, with one bucket.
type s3Server struct {
	stop   func() error
	bucket string
	env    []string
}

const serverKey = "measure"

// startServer builds tools/s3server if need be, and starts it.
func (b *bench) startServer(ctx context.Context) (*s3Server, error) {
	if out, err := exec.CommandContext(ctx, "make", "s3server").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the S3 server: %w (run this in the module's root): %s", err, out)
	}
	root, err := b.fresh("server")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "build/bin/s3server", "--root", root, "--access", serverKey, "--secret", serverKey)
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
	s := &s3Server{bucket: "measure"}
	s.stop = func() error {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
		return os.RemoveAll(root)
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
		return nil, errors.Join(fmt.Errorf("start the S3 server: %w", err), s.stop())
	}
	s.env = []string{
		"AWS_ENDPOINT_URL=" + address, "AWS_ACCESS_KEY_ID=" + serverKey, "AWS_SECRET_ACCESS_KEY=" + serverKey,
		"AWS_REGION=us-east-1", "S3_SECRET=" + serverKey,
	}
	return s, nil
}

// place is where a repository lies: a directory, or the bucket.
type place struct {
	name       string
	repository func(ctx context.Context) (*repository, error)

	first, unchanged, restore                   timings
	firstMemory, unchangedMemory, restoreMemory footprint
	many, manyBack, manyCPU                     sample // of all small streams together
}

// bucketRepository is newRepository in the bucket.
func (b *bench) bucketRepository(ctx context.Context, s *s3Server) (*repository, error) {
	dir, err := b.fresh("repository")
	if err != nil {
		return nil, err
	}
	r := &repository{b: b, dir: dir, path: "s3://" + s.bucket + "/" + filepath.Base(dir), key: filepath.Join(dir, "key")}
	_, err = b.run(ctx, command{args: []string{b.exe, "repo", "init", "--repo", r.path, "--key-file", r.key}, quiet: true})
	return r, err
}

// Of the table that goes into both places, and of the small streams.
const (
	bucketBytes   = giga
	smallStreams  = 500
	smallAtOnce   = 100
	smallByteSize = 1024
)

// buckets measures a bucket of a server on this machine next to a directory.
func (b *bench) buckets(ctx context.Context) error {
	server, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }() // its directory goes with the bench's
	b.env = append(b.env, server.env...)
	progress("buckets: make the table")
	dir, err := b.fresh("tables")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "table")
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = (&tableSource{bytes: bucketBytes, seed: 9}).WriteTo(f)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	places := [2]*place{
		{name: "bucket", repository: func(ctx context.Context) (*repository, error) { return b.bucketRepository(ctx, server) }},
		{name: "directory", repository: b.newRepository},
	}
	for i := range b.set.rounds {
		for _, p := range places {
			progress("buckets: round %d of %d, %s", i+1, b.set.rounds, p.name)
			if err := b.onePlace(ctx, p, file); err != nil {
				return err
			}
		}
	}
	b.tellBuckets(places[0], places[1])
	return nil
}

// onePlace measures one place once.
func (b *bench) onePlace(ctx context.Context, p *place, file string) error {
	r, err := p.repository(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.host()
	if err != nil {
		return err
	}
	defer h.Close()
	ts := b.timestamp()
	store := func(ts string, memory *footprint, t *timings) error {
		in, err := os.Open(file)
		if err != nil {
			return err
		}
		defer in.Close()
		if err := errors.Join(h.setUp(ctx, ts), waitOrphans(ctx)); err != nil {
			return err
		}
		u, err := h.backUp(ctx, ts, 1, in, true)
		if err != nil {
			return err
		}
		t.add(u)
		memory.add(u)
		return errors.Join(h.succeed(ctx, ts), waitOrphans(ctx))
	}
	if err := store(ts, &p.firstMemory, &p.first); err != nil {
		return err
	}
	if err := store(b.timestamp(), &p.unchangedMemory, &p.unchanged); err != nil {
		return err
	}
	var out counter
	c := h.restoring(ts, 1)
	c.out, c.watch = &out, true
	u, err := b.run(ctx, c)
	if err != nil {
		return err
	}
	if out.n < bucketBytes {
		return fmt.Errorf("%d bytes came back", out.n)
	}
	p.restore.add(u)
	p.restoreMemory.add(u)
	return b.manySmall(ctx, p, h)
}

// manySmall stores and restores the small streams, each in a process of its own.
func (b *bench) manySmall(ctx context.Context, p *place, h *host) error {
	ts := b.timestamp()
	each := func(what func(ctx context.Context, i int) (usage, error)) (wall, cpu float64, err error) {
		used := make([]usage, smallStreams)
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(smallAtOnce)
		begin := time.Now()
		for i := range smallStreams {
			g.Go(func() (err error) {
				used[i], err = what(ctx, i)
				return err
			})
		}
		err = g.Wait()
		wall = time.Since(begin).Seconds()
		for _, u := range used {
			cpu += u.cpu.Seconds()
		}
		return wall, cpu, err
	}
	text := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), smallByteSize/8) }
	wall, cpu, err := each(func(ctx context.Context, i int) (usage, error) {
		return h.backUp(ctx, ts, 1000+i, bytes.NewReader(text(i)), false)
	})
	if err != nil {
		return err
	}
	p.many, p.manyCPU = append(p.many, wall), append(p.manyCPU, cpu)
	wall, _, err = each(func(ctx context.Context, i int) (usage, error) {
		var out bytes.Buffer
		c := h.restoring(ts, 1000+i)
		c.out = &out
		u, err := b.run(ctx, c)
		if err == nil && !bytes.Equal(out.Bytes(), text(i)) {
			err = fmt.Errorf("stream %d came back with other bytes", i)
		}
		return u, err
	})
	p.manyBack = append(p.manyBack, wall)
	return err
}

func (b *bench) tellBuckets(bucket, directory *place) {
	t := b.report.customTable("A bucket next to a directory",
		fmt.Sprintf("versitygw on this machine and in the same file system, next to a directory: %s of table text, backed up, backed up again\n"+
			"unchanged, and restored; and %d streams of 1 KB, each by a process of its own, %d at a time. The server takes its part of the\n"+
			"processors, and there is no network between: this shows what a bucket costs beside bandwidth.",
			formatBytes(bucketBytes), smallStreams, smallAtOnce),
		"what|bucket|directory|ratio|goal|met")
	t.compare("backup_data, first", seconds, bucket.first.wall, directory.first.wall, nil)
	t.compare("the same, processor time of gpdedup", seconds, bucket.first.cpu, directory.first.cpu, nil)
	t.compare("backup_data, unchanged", seconds, bucket.unchanged.wall, directory.unchanged.wall, nil)
	t.compare("restore_data", seconds, bucket.restore.wall, directory.restore.wall, nil)
	t.compare("the same, processor time of gpdedup", seconds, bucket.restore.cpu, directory.restore.cpu, nil)
	t.compare("memory of backup_data (RssAnon)", mebibytes, bucket.firstMemory.anon, directory.firstMemory.anon, nil)
	t.compare("memory of backup_data, unchanged", mebibytes, bucket.unchangedMemory.anon, directory.unchangedMemory.anon, nil)
	t.compare("memory of restore_data", mebibytes, bucket.restoreMemory.anon, directory.restoreMemory.anon, nil)
	t.compare(fmt.Sprintf("backup_data of %d streams", smallStreams), seconds, bucket.many, directory.many, nil)
	t.compare("the same, processor time of gpdedup", seconds, bucket.manyCPU, directory.manyCPU, nil)
	t.compare(fmt.Sprintf("restore_data of %d streams", smallStreams), seconds, bucket.manyBack, directory.manyBack, nil)
}
