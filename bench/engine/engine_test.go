// Package engine measures the engine against the sum of its parts, in one run, so
// that the ratios hold on a noisy machine.
package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gpdedup/gpdedup/bench/parts"
	"github.com/gpdedup/gpdedup/bench/tablegen"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage/local"
)

// tableText is about 128 MB of table text.
var tableText = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	if _, err := tablegen.New(tablegen.Heap, 1, 850_000).WriteTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
})

func open(b *testing.B) *repo.Repo {
	b.Helper()
	ctx := context.Background()
	dir := b.TempDir()
	key := dir + "/key"
	if err := repo.CreateKeyFile(key); err != nil {
		b.Fatal(err)
	}
	st, err := local.Create(dir + "/repo")
	if err != nil {
		b.Fatal(err)
	}
	secret := repo.Secret{KeyFile: key}
	if _, err := repo.Init(ctx, st, repo.InitOptions{Secret: secret, Now: time.Now()}); err != nil {
		b.Fatal(err)
	}
	r, err := repo.Open(ctx, st, "write", repo.Options{Secret: secret})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	return r
}

func write(b *testing.B, r *repo.Repo, day int) repo.WriteReport {
	b.Helper()
	return writeFrom(b, r, day, bytes.NewReader(tableText()))
}

func writeFrom(b *testing.B, r *repo.Repo, day int, src io.Reader) repo.WriteReport {
	b.Helper()
	name := repo.Name{Class: repo.Backup, Namespace: "default", Group: fmt.Sprintf("%014d", day), Item: "table"}
	o := repo.WriteOptions{}
	if day > 0 {
		previous := name
		previous.Group = fmt.Sprintf("%014d", day-1)
		o.Previous = []repo.Name{previous}
	}
	rep, err := r.Write(context.Background(), name, src, o)
	if err != nil {
		b.Fatal(err)
	}
	return rep
}

// BenchmarkFirst is the first backup of table text.
func BenchmarkFirst(b *testing.B) {
	b.SetBytes(int64(len(tableText())))
	for range b.N {
		b.StopTimer()
		r := open(b)
		b.StartTimer()
		rep := write(b, r, 0)
		b.ReportMetric(float64(rep.Length)/float64(rep.Stats.NewStored), "ratio")
	}
}

// BenchmarkUnchanged is the next backup of the same.
func BenchmarkUnchanged(b *testing.B) {
	r := open(b)
	write(b, r, 0)
	b.SetBytes(int64(len(tableText())))
	day := 0
	for b.Loop() {
		day++
		write(b, r, day)
	}
}

// nextDayText is the same table a day later: 1.3 % of the rows were updated, all over it.
var nextDayText = sync.OnceValue(func() []byte {
	table := tablegen.New(tablegen.Heap, 1, 850_000)
	table.NextDay(tablegen.Daily(tablegen.Heap))
	var b bytes.Buffer
	if _, err := table.WriteTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
})

// BenchmarkNextDay is the second backup of a table that changed all over. It reports
// processor time too, which other processes disturb less.
func BenchmarkNextDay(b *testing.B) {
	b.SetBytes(int64(len(nextDayText())))
	var used time.Duration
	for range b.N {
		b.StopTimer()
		r := open(b)
		write(b, r, 0)
		runtime.GC()
		before := processorTime(b)
		b.StartTimer()
		rep := writeFrom(b, r, 1, bytes.NewReader(nextDayText()))
		b.StopTimer()
		used += processorTime(b) - before
		b.ReportMetric(float64(rep.Stats.NewStored)/1e6, "stored-MB")
	}
	b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/op")
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRestore reads it back.
func BenchmarkRestore(b *testing.B) {
	r := open(b)
	write(b, r, 0)
	b.SetBytes(int64(len(tableText())))
	name := repo.Name{Class: repo.Backup, Namespace: "default", Group: fmt.Sprintf("%014d", 0), Item: "table"}
	for b.Loop() {
		if err := r.Restore(context.Background(), name, io.Discard, repo.RestoreOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParts runs each part alone on all cores over the same text, and reports
// what their sum allows.
func BenchmarkParts(b *testing.B) {
	text := tableText()
	all, err := parts.Of(text)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	times := make([]time.Duration, len(all))
	for b.Loop() {
		each, _ := parts.Time(all)
		for i := range each {
			times[i] += each[i]
		}
	}
	for i, p := range all {
		b.ReportMetric(float64(len(text))*float64(b.N)/1e6/times[i].Seconds(), p.Name+"-MB/s")
	}
}
