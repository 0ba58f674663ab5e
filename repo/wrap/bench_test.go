package wrap

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/repo/manifest"
)

// The rates are those of the content. bench/tablegen has data of more kinds, and
// docs/gpbackup.md the figures of whole streams beside gzip -dc.

func BenchmarkReader(b *testing.B) {
	text := rows(1, 16<<20)
	for name, stream := range map[string][]byte{"a.gz": gzippedAt(b, text, 1), "a.zst": zstded(b, text, zstd.WithEncoderLevel(zstd.SpeedFastest))} {
		b.Run(name[2:], func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r := NewReader(name, bytes.NewReader(stream))
				if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(text)) {
					b.Fatal(n, err)
				}
				_ = r.Close()
			}
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	text := rows(1, 16<<20)
	for name, around := range writers {
		for _, as := range []manifest.Wrapping{manifest.Gzip, manifest.Zstd} {
			b.Run(name+"/"+format(as), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					w := around(as, uint64(len(text)), 0, io.Discard)
					for at := 0; at < len(text); at += 256 << 10 {
						if _, err := w.Write(text[at : at+256<<10]); err != nil {
							b.Fatal(err)
						}
					}
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
