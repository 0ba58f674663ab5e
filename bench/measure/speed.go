//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpdedup/gpdedup/bench/parts"
	"github.com/gpdedup/gpdedup/bench/tablegen"
)

// track is the table that speed is measured with, and what was measured so far: speeds in MB/s of text.
type track struct {
	b     *bench
	text  []byte
	day1  string // file
	day2  string
	parts []parts.Part
	peers []*peer

	first, unchanged, elsewhere, slower sample
	partSpeeds                          []sample
	allowed, zstd, zstdSize, copied     sample
	null, unzstd, piped, pipedZstd      sample
	next, nextShare, storedShare        sample

	// Processor time, in seconds: other work on the machine lengthens it less.
	firstCPU, partsCPU, restoreCPU, unzstdCPU sample
}

// speed measures whole backups and restores of one table, as the only one of a backup.
func (b *bench) speed(ctx context.Context) error {
	progress("speed: make the table")
	dir, err := b.fresh("tables")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	k := &track{b: b, day1: filepath.Join(dir, "day1"), day2: filepath.Join(dir, "day2")}
	table := tablegen.New(tablegen.Heap, 1, b.set.rows)
	if k.text, err = writeTable(k.day1, table); err != nil {
		return err
	}
	table.NextDay(tablegen.Daily(tablegen.Heap))
	if _, err = writeTable(k.day2, table); err != nil {
		return err
	}
	if k.parts, err = parts.Of(k.text); err != nil {
		return err
	}
	k.partSpeeds = make([]sample, len(k.parts))
	if k.peers, err = b.findPeers(ctx); err != nil {
		return err
	}
	for i := range b.set.rounds {
		progress("speed: round %d of %d", i+1, b.set.rounds)
		if err := k.round(ctx, i == 0); err != nil {
			return err
		}
	}
	k.tell()
	return b.appendOnly(ctx, dir)
}

func writeTable(path string, t *tablegen.Table) ([]byte, error) {
	var text bytes.Buffer
	if _, err := t.WriteTo(&text); err != nil {
		return nil, err
	}
	return text.Bytes(), writeSynced(path, text.Bytes())
}

// writeSynced leaves nothing for the kernel to write while something else is measured.
func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (k *track) rate(took time.Duration) float64 { return float64(len(k.text)) / mega / took.Seconds() }

// round measures everything once. Whatever is compared lies close together.
func (k *track) round(ctx context.Context, verify bool) error {
	r, err := k.b.newRepository(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.host()
	if err != nil {
		return err
	}
	defer h.Close()
	ts := k.b.timestamp()
	u, err := h.whole(ctx, ts, k.day1)
	if err != nil {
		return err
	}
	k.first = append(k.first, k.rate(u.wall))
	k.firstCPU = append(k.firstCPU, u.cpu.Seconds())
	for _, step := range []func() error{
		func() error { return k.runParts() },
		func() error { return k.unchangedDays(ctx, r, h) },
		func() error { return k.tools(ctx) },
		func() error { return k.slowerBackup(ctx) },
		func() error { return k.restores(ctx, h, ts, verify) },
		func() error { return k.nextDay(ctx, r, h) },
		func() error { return k.askPeers(ctx) },
	} {
		if err := errors.Join(step(), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func (k *track) runParts() error {
	before, err := ownCPU()
	if err != nil {
		return err
	}
	each, sum := parts.Time(k.parts)
	after, err := ownCPU()
	if err != nil {
		return err
	}
	k.partsCPU = append(k.partsCPU, after-before)
	for i := range each {
		k.partSpeeds[i] = append(k.partSpeeds[i], k.rate(each[i]))
	}
	k.allowed = append(k.allowed, k.rate(sum))
	return nil
}

// ownCPU is the processor time of this process so far, in seconds.
func ownCPU() (float64, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9, err
}

// unchangedDays backs the same bytes up under new timestamps: on the host that did before, and on one that never did.
func (k *track) unchangedDays(ctx context.Context, r *repository, h *host) error {
	u, err := h.whole(ctx, k.b.timestamp(), k.day1)
	if err != nil {
		return err
	}
	k.unchanged = append(k.unchanged, k.rate(u.wall))
	other, err := r.host()
	if err != nil {
		return err
	}
	defer other.Close()
	if u, err = other.whole(ctx, k.b.timestamp(), k.day1); err != nil {
		return err
	}
	k.elsewhere = append(k.elsewhere, k.rate(u.wall))
	return nil
}

// tools measures zstd and cp. What zstd writes is kept for the restores.
func (k *track) tools(ctx context.Context) error {
	u, err := k.b.run(ctx, command{args: []string{"zstd", "-q", "-1", "-T1", "-f", k.day1, "-o", k.day1 + ".zst"}})
	if err != nil {
		return err
	}
	k.zstd = append(k.zstd, k.rate(u.wall))
	info, err := os.Stat(k.day1 + ".zst")
	if err != nil {
		return err
	}
	k.zstdSize = append(k.zstdSize, float64(info.Size())/float64(len(k.text)))
	copied := k.day1 + ".copy"
	defer os.Remove(copied)
	if u, err = k.b.run(ctx, command{args: []string{"cp", k.day1, copied}}); err != nil {
		return err
	}
	k.copied = append(k.copied, k.rate(u.wall))
	return nil
}

// slowerBackup is a first backup with the next level of compression.
func (k *track) slowerBackup(ctx context.Context) error {
	r, err := k.b.newRepository(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.host("compression: default")
	if err != nil {
		return err
	}
	defer h.Close()
	u, err := h.whole(ctx, k.b.timestamp(), k.day1)
	if err == nil {
		k.slower = append(k.slower, k.rate(u.wall))
	}
	return err
}

// restores compares reading back with decompressing, to /dev/null and through a pipe.
func (k *track) restores(ctx context.Context, h *host, ts string, verify bool) error {
	ours := h.restoring(ts, 1)
	theirs := command{args: []string{"zstd", "-q", "-d", "-c", k.day1 + ".zst"}}
	for range 2 { // they are short
		for _, x := range []struct {
			to, cpu *sample
			run     func(context.Context, command) (usage, error)
			c       command
		}{
			{&k.null, &k.restoreCPU, k.b.run, ours},
			{&k.unzstd, &k.unzstdCPU, k.b.run, theirs},
			{&k.piped, nil, k.b.pipe, ours},
			{&k.pipedZstd, nil, k.b.pipe, theirs},
		} {
			u, err := x.run(ctx, x.c)
			if err != nil {
				return err
			}
			*x.to = append(*x.to, k.rate(u.wall))
			if x.cpu != nil {
				*x.cpu = append(*x.cpu, u.cpu.Seconds())
			}
		}
	}
	if !verify {
		return nil
	}
	sum := sha256.New()
	ours.out = sum
	if _, err := k.b.run(ctx, ours); err != nil {
		return err
	}
	if [32]byte(sum.Sum(nil)) != sha256.Sum256(k.text) {
		return errors.New("the table came back with other bytes")
	}
	return nil
}

// nextDay backs the next day's table up, and sees how much the repository grows.
func (k *track) nextDay(ctx context.Context, r *repository, h *host) error {
	before, err := r.stored()
	if err != nil {
		return err
	}
	u, err := h.whole(ctx, k.b.timestamp(), k.day2)
	if err != nil {
		return err
	}
	after, err := r.stored()
	k.next = append(k.next, k.rate(u.wall))
	// Two unchanged days lie in between; their manifests count for the first day here, and are nothing beside it.
	k.nextShare = append(k.nextShare, float64(after-before)/float64(before))
	k.storedShare = append(k.storedShare, float64(before)/float64(len(k.text)))
	return err
}

// tell puts what was measured into the report.
func (k *track) tell() {
	t := k.b.report.table("Speed", "the other", fmt.Sprintf(
		"One table of %s of text, from a file to standard input, in MB of text a second; the time of the whole process, start,\n"+
			"encryption and every fsync included. Hooks run before, as gpbackup calls them, and what they start runs beside. The parts are\n"+
			"the chunker, keyed BLAKE3, zstd fastest and AES-256-GCM (of what zstd leaves), each alone on all cores, in memory; what they\n"+
			"allow is the length by the sum of their times.", formatBytes(int64(len(k.text)))))
	t.compare("first backup / what its parts allow", speed, k.first, k.allowed, atLeast(0.8))
	t.compare("the same, processor time (less is better)", seconds, k.firstCPU, k.partsCPU, nil)
	for i, p := range k.parts {
		t.compare("first backup / "+p.Name+" alone", speed, k.first, k.partSpeeds[i], nil)
	}
	t.compare("first backup / zstd -1, one thread", speed, k.first, k.zstd, nil)
	t.compare("first backup / cp, which syncs nothing", speed, k.first, k.copied, nil)
	t.compare("first backup with compression: default / with fastest", speed, k.slower, k.first, nil)
	t.compare("unchanged second backup / first", speed, k.unchanged, k.first, atLeast(2.5))
	t.compare("unchanged, on a host with an empty cache / first", speed, k.elsewhere, k.first, atLeast(2.5))
	t.compare("restore to /dev/null / zstd -d -c", speed, k.null, k.unzstd, atLeast(0.8))
	t.compare("the same, processor time (less is better)", seconds, k.restoreCPU, k.unzstdCPU, nil)
	t.compare("restore through a pipe to cat / zstd -d -c", speed, k.piped, k.pipedZstd, atLeast(0.8))
	t.compare("next day's backup, 1.3 % of rows changed / first", speed, k.next, k.first, nil)

	n := k.b.report.table("Bytes stored", "the other",
		"What the repository grows by; the next day has 1.3 % of the rows updated, all over the table, and a few come and go.")
	n.compare("first day, share of the text / zstd -1", percent, k.storedShare, k.zstdSize, nil)
	n.add("next day of a table changed all over, share of its first day", percent, k.nextShare)
	k.tellPeers()
}

// appendOnly sees what a day costs of a table that only grows, by 2 %. Bytes do not vary: once is enough.
func (b *bench) appendOnly(ctx context.Context, dir string) error {
	progress("bytes: an append-only table")
	r, err := b.newRepository(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.host()
	if err != nil {
		return err
	}
	defer h.Close()
	file := filepath.Join(dir, "events")
	table := tablegen.New(tablegen.AppendOnly, 2, b.set.rows)
	var stored [3]int64
	for day := 1; day <= 2; day++ {
		if _, err := writeTable(file, table); err != nil {
			return err
		}
		if _, err := h.whole(ctx, b.timestamp(), file); err != nil {
			return err
		}
		if stored[day], err = r.stored(); err != nil {
			return err
		}
		table.NextDay(tablegen.Daily(tablegen.AppendOnly))
	}
	b.report.bytes().add("next day of a table that grew by 2 % at its end, share of its first day", percent,
		sample{float64(stored[2]-stored[1]) / float64(stored[1])})
	return nil
}
