// Package compress turns a chunk into the payload that is stored, and back.
package compress

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/spelling"
)

// Level is how hard to try.
type Level string

// The levels, by the names that users give them.
const (
	Off     Level = "off"
	Fastest Level = "fastest"
	Default Level = "default"
	Better  Level = "better"
	Best    Level = "best"
)

// ParseLevel returns the level of that name; empty is Fastest.
func ParseLevel(s string) (Level, error) {
	switch l := Level(s); l {
	case "":
		return Fastest, nil
	case Off, Fastest, Default, Better, Best:
		return l, nil
	}
	return "", fmt.Errorf("unknown compression %q: want off, fastest, default, better or best%s", s,
		spelling.DidYouMean(s, []string{string(Off), string(Fastest), string(Default), string(Better), string(Best)}))
}

// window is zstd's window in bytes. Most chunks fit in it; a larger one costs each
// encoder memory and gains next to nothing on table text.
const window = 1 << 20

// deltaWindow is the same for deltas.
const deltaWindow = 128 << 10

// Slack is how many bytes of capacity beyond the content make decoding faster.
const Slack = 64

// ErrDecode: a payload does not decode to what was stored.
var ErrDecode = errors.New("payload does not decode")

// Encoder compresses. It is safe for concurrent use by as many goroutines as
// NewEncoder was told; more will wait.
type Encoder struct {
	zstd   *encoders
	delta  *encoders // deltas are short, so more effort costs little
	choice choice
}

// NewEncoder returns an encoder for the given number of concurrent users.
func NewEncoder(level Level, concurrency int) (*Encoder, error) {
	if level == Off {
		return &Encoder{}, nil
	}
	speed := map[Level]zstd.EncoderLevel{
		Fastest: zstd.SpeedFastest, Default: zstd.SpeedDefault,
		Better: zstd.SpeedBetterCompression, Best: zstd.SpeedBestCompression,
	}[level]
	whole, err := newEncoders(concurrency, speed, window)
	if err != nil {
		return nil, err
	}
	deltas, err := newEncoders(concurrency, max(speed, zstd.SpeedBetterCompression), deltaWindow)
	if err != nil {
		return nil, err
	}
	return &Encoder{zstd: whole, delta: deltas}, nil
}

// Encode appends the payload of raw to dst and says how it is encoded. What does
// not shrink by at least 1/32 is stored as it is, for reading it back is free.
func (e *Encoder) Encode(dst, raw []byte) ([]byte, index.Encoding) {
	return encode(e.zstd, dst, raw)
}

func encode(with *encoders, dst, raw []byte) ([]byte, index.Encoding) {
	if with == nil || len(raw) == 0 {
		return append(dst, raw...), index.Raw
	}
	w := with.take()
	out := w.zstd.EncodeAll(raw, dst)
	with.giveBack(w)
	if !worthwhile(len(out)-len(dst), len(raw)) {
		return append(out[:len(dst)], raw...), index.Raw
	}
	return out, index.Zstd
}

// worthwhile reports whether enough is saved, and something at least: a part of columns that is as long as what it holds is that.
func worthwhile(stored, raw int) bool { return stored < raw && stored <= raw-raw/32 }

// Decoder decompresses. It is safe for concurrent use.
type Decoder struct {
	zstd    *zstd.Decoder
	mergers mergers
}

// NewDecoder returns a decoder for the given number of concurrent users.
func NewDecoder(concurrency int) (*Decoder, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(concurrency), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(index.MaxChunk), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return &Decoder{zstd: dec, mergers: make(mergers, concurrency)}, nil
}

// Decode appends the content of payload, which must be exactly raw bytes, to dst.
// It never produces more than that, whatever the payload says.
func (d *Decoder) Decode(dst, payload []byte, enc index.Encoding, raw int) ([]byte, error) {
	if raw < 0 || raw > index.MaxChunk {
		return nil, fmt.Errorf("%w: claims %d bytes", ErrDecode, raw)
	}
	switch enc {
	case index.Raw:
		if len(payload) != raw {
			return nil, fmt.Errorf("%w: %d bytes, want %d", ErrDecode, len(payload), raw)
		}
		return append(dst, payload...), nil
	case index.Zstd:
		// With some room behind the content the decoder need not watch the end.
		dst = grow(dst, raw+Slack)
		out, err := d.zstd.DecodeAll(payload, dst[:len(dst):len(dst)+raw+Slack])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDecode, err)
		}
		if len(out)-len(dst) != raw {
			return nil, fmt.Errorf("%w: %d bytes, want %d", ErrDecode, len(out)-len(dst), raw)
		}
		return dst[:len(out)], nil // with all of its capacity
	case index.Columns:
		return d.decodeColumns(dst, payload, raw)
	default:
		return nil, fmt.Errorf("%w: %s needs its base", ErrDecode, enc)
	}
}

func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	out := make([]byte, len(dst), len(dst)+n)
	copy(out, dst)
	return out
}
