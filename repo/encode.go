package repo

import (
	"bytes"
	"fmt"

	"github.com/gpdedup/gpdedup/index"
	"github.com/gpdedup/gpdedup/repo/compress"
	"github.com/gpdedup/gpdedup/repo/pack"
)

// encodeChunk appends the payload of a chunk of a stream to dst, and proves that it decodes to the chunk. sum is the payload's. It is
// taken before that, and checked when the payload is sealed: from here on no flipped bit goes unnoticed.
func (r *Repo) encodeChunk(dst, raw []byte) (out []byte, encoding index.Encoding, sum uint32, err error) {
	out, encoding, sum, err = r.encodeTable(dst, raw)
	if err != nil && encoding == index.Columns {
		// A backup must not fail because of a text that package columns does not get right.
		r.log.Warn("chunk is compressed as a whole: by columns it did not come back", "bytes", len(raw), "error", err)
		out, encoding = r.enc.Encode(dst, raw)
		sum = pack.Sum(out[len(dst):])
		err = r.verifyPayload(out[len(dst):], encoding, raw)
	}
	return out, encoding, sum, err
}

// encodeTable is encodeChunk for a first attempt, which may store the chunk by columns. That the code for these panics is an error like any other: it reads many
// bytes at a time, and a backup that fails because of some text would fail again tomorrow.
func (r *Repo) encodeTable(dst, raw []byte) (out []byte, encoding index.Encoding, sum uint32, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			encoding, err = index.Columns, fmt.Errorf("encode chunk by columns: %v", cause)
		}
	}()
	out, encoding = r.enc.EncodeChunk(dst, raw)
	if encoding == index.Columns {
		r.broken.columns(out)
	}
	sum = pack.Sum(out[len(dst):])
	return out, encoding, sum, r.verifyPayload(out[len(dst):], encoding, raw)
}

// verifyPayload checks that what was encoded decodes to the same bytes.
func (r *Repo) verifyPayload(payload []byte, encoding index.Encoding, raw []byte) error {
	if encoding == index.Raw {
		return nil // a copy
	}
	scratch := r.buffers.get(len(raw) + compress.Slack)
	defer r.buffers.put(scratch)
	out, err := r.dec.Decode(scratch[:0], payload, encoding, len(raw))
	if err != nil || !bytes.Equal(out, raw) {
		return fmt.Errorf("compress chunk: what was compressed does not decode to the same bytes: " +
			"this machine's memory or processor is not to be trusted")
	}
	return nil
}
