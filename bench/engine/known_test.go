package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/plugin"
	"github.com/gpdedup/gpdedup/repo"
)

// BenchmarkDuplicate is the first backup of what another namespace has: all of it is cut
// and named, and found in the index.
func BenchmarkDuplicate(b *testing.B) {
	r := open(b)
	write(b, r, 0)
	b.SetBytes(int64(len(tableText())))
	b.ReportAllocs()
	other := 0
	for b.Loop() {
		other++
		name := repo.Name{Class: repo.Backup, Namespace: fmt.Sprintf("other%d", other), Group: fmt.Sprintf("%014d", 0), Item: "table"}
		rep, err := r.Write(context.Background(), name, bytes.NewReader(tableText()), repo.WriteOptions{})
		if err != nil || rep.Stats.NewChunks > 0 {
			b.Fatal(rep.Stats, err)
		}
	}
}

// BenchmarkIncompressible is the first backup of bytes that nothing makes shorter.
func BenchmarkIncompressible(b *testing.B) {
	noise := make([]byte, len(tableText()))
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise) // never fails
	b.SetBytes(int64(len(noise)))
	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		r := open(b)
		b.StartTimer()
		writeFrom(b, r, 0, bytes.NewReader(noise))
	}
}

// BenchmarkPipe is the next backup of the same, through a pipe, as gpbackup sends it, and
// beside it what only names the bytes of such a pipe, with one thread.
func BenchmarkPipe(b *testing.B) {
	r := open(b)
	write(b, r, 0)
	day := 0
	for name, take := range map[string]func(b *testing.B, in io.Reader){
		"unchanged": func(b *testing.B, in io.Reader) {
			day++
			writeFrom(b, r, day, in)
		},
		"blake3": func(b *testing.B, in io.Reader) {
			namer, buf := digest.NewHasher([32]byte{1}), make([]byte, 1<<20)
			for {
				n, err := io.ReadFull(in, buf)
				namer.Sum(buf[:n])
				if err != nil {
					return
				}
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(tableText())))
			for b.Loop() {
				through(b, take)
			}
		})
	}
}

// through sends the text through a pipe.
func through(b *testing.B, take func(b *testing.B, in io.Reader)) {
	b.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	input, err := plugin.NewInput(context.Background(), int(out.Fd()))
	if err != nil {
		b.Fatal(err)
	}
	defer input.Close()
	go func() {
		_, _ = in.Write(tableText()) // the reader sees what is missing
		_ = in.Close()
	}()
	take(b, input)
}
