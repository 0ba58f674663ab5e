package wal

import (
	"github.com/zeebo/blake3"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/digest/wide"
)

// fileHash makes the hash of a file, piece by piece. Where the processor can, it is made of
// hashes of the pieces, which are computed while the bytes are in the cache of the core that
// reads or decodes them, in any order; else of the pieces one after the other.
type fileHash struct {
	parts []wide.Hash // nil: in is used
	in    *blake3.Hasher
}

// newFileHash returns one for a file of length bytes.
func newFileHash(length int64) *fileHash {
	n := length / wide.PartSize
	if wide.Available() && length%wide.PartSize == 0 && n >= 2 && n <= wide.MaxParts && n&(n-1) == 0 {
		return &fileHash{parts: make([]wide.Hash, n)}
	}
	return &fileHash{in: blake3.New()}
}

// atOnce is called with each piece and where in the file it begins, by whoever has it
// first, and from several goroutines at once.
func (h *fileHash) atOnce(at int64, piece []byte) {
	if h.parts == nil {
		return
	}
	for i := int(at / wide.PartSize); len(piece) > 0; i++ {
		h.parts[i] = wide.Part(i, piece[:wide.PartSize])
		piece = piece[wide.PartSize:]
	}
}

// inTurn is called with each piece too, with one after the other.
func (h *fileHash) inTurn(piece []byte) {
	if h.parts == nil {
		_, _ = h.in.Write(piece)
	}
}

// sum returns the hash when both were called with all pieces.
func (h *fileHash) sum() digest.ID {
	if h.parts != nil {
		return wide.Root(h.parts)
	}
	return digest.ID(h.in.Sum(nil))
}
