package backups

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrMalformed: a file of a backup is not what gpbackup writes.
var ErrMalformed = errors.New("not in gpbackup's form")

const (
	// maxYAML bounds a YAML file of a backup, in bytes: what a database of a
	// million tables needs, and what a hostile file may cost.
	maxYAML = 256 << 20
	// maxLine bounds a line, in bytes: a table of 1,600 columns, each with the
	// longest name, needs a tenth of that.
	maxLine = 1 << 20
	// maxItem bounds what is handed to the YAML decoder at once, in bytes.
	maxItem = 4 << 20
	// batch is how many bytes of whole items are decoded together.
	batch = 64 << 10
)

// The YAML library keeps the whole tree of a document, some fifty times its size.
// A toc.yaml of 100,000 tables would take gigabytes. gpbackup writes one block
// mapping whose keys stand in the first column, so a file is cut into the lines
// of its top-level keys here, and only what is wanted goes to the library, a few
// items at a time.

// eachLine calls fn for every line of a YAML file, line feed included, with the
// top-level key that it belongs to. The line is valid until fn returns.
func eachLine(r io.Reader, fn func(key string, line []byte) error) error {
	in := bufio.NewReaderSize(&limitedReader{r: r, left: maxYAML}, 64<<10)
	var key string
	var line []byte
	for {
		var err error
		if line, err = readLine(in, line[:0]); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 {
			k, ok, keyErr := topLevelKey(line)
			if keyErr != nil {
				return keyErr
			}
			if ok {
				key = k
			} else if key != "" && isMarker(line) {
				// The library stops at a second document; nothing may hide in one.
				return fmt.Errorf("%w: more than one document", ErrMalformed)
			}
			if err := fn(key, line); err != nil {
				return err
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the end of the file
		}
	}
}

// readLine appends the next line to buf. The last one comes with io.EOF.
func readLine(in *bufio.Reader, buf []byte) ([]byte, error) {
	for {
		part, err := in.ReadSlice('\n')
		buf = append(buf, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buf, err
		}
		if len(buf) > maxLine {
			return buf, fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, maxLine)
		}
	}
}

// isMarker reports whether a line begins or ends a YAML document.
func isMarker(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) || bytes.HasPrefix(line, []byte("..."))
}

// topLevelKey returns the key that a line begins, if it begins one.
func topLevelKey(line []byte) (key string, ok bool, err error) {
	switch line[0] {
	case ' ', '-', '#', '\n', '\r', '%', '.':
		return "", false, nil
	}
	k, _, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(k) > 100 || bytes.ContainsAny(k, "{}[]\t&*!|>") {
		return "", false, fmt.Errorf("%w: %.40q in the first column", ErrMalformed, bytes.TrimSpace(line))
	}
	return strings.Trim(string(k), `"' `), true, nil
}

// eachBatch cuts the value of a top-level key, a sequence or a mapping, into
// batches of whole items, each a YAML document of its own, in order.
func eachBatch(r io.Reader, key string, decode func(document []byte) error) error {
	var doc, first []byte // the batch, and what precedes the text of every item
	flush := func() error {
		if len(bytes.TrimSpace(doc)) == 0 {
			return nil
		}
		err := decode(doc)
		doc = doc[:0]
		return err
	}
	err := eachLine(r, func(k string, line []byte) error {
		if k != key {
			return nil
		}
		if _, value, ok := bytes.Cut(line, []byte(":")); ok && line[0] != ' ' && line[0] != '-' && line[0] != '#' {
			// The line of the key itself: what follows is empty, or [] or {}.
			doc = append(doc, bytes.TrimLeft(value, " ")...)
			if len(bytes.TrimSpace(doc)) == 0 {
				doc = doc[:0]
			}
			return nil
		}
		if first == nil && len(bytes.TrimSpace(line)) > 0 {
			first = bytes.Clone(prefix(line))
		}
		if len(doc) >= batch && bytes.Equal(prefix(line), first) {
			if err := flush(); err != nil {
				return err
			}
		}
		doc = append(doc, line...)
		if len(doc) > maxItem {
			return fmt.Errorf("%w: an item of more than %d bytes under %s", ErrMalformed, maxItem, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// prefix returns the indentation of a line, and the dash of a sequence's item.
func prefix(line []byte) []byte {
	n := 0
	for n < len(line) && line[n] == ' ' {
		n++
	}
	if n+1 < len(line) && line[n] == '-' && (line[n+1] == ' ' || line[n+1] == '\n') {
		return line[:n+1]
	}
	return line[:n]
}

// limitedReader fails, where io.LimitReader would end.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrMalformed, int64(maxYAML))
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
