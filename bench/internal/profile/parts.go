//go:build linux

package profile

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// Part is a kind of work.
type Part string

// The parts, in the order of a stream's way.
const (
	Cut        Part = "cut"
	Hash       Part = "hash"
	Features   Part = "features"
	Delta      Part = "delta"
	Columns    Part = "columns"
	Compress   Part = "zstd"
	Verify     Part = "decode again"
	Decompress Part = "decompress"
	Seal       Part = "seal, open"
	Index      Part = "index"
	Storage    Part = "storage"
	Memory     Part = "memory, gc"
	Rest       Part = "the rest"
)

// All are the parts in the order of a report.
var All = []Part{Cut, Hash, Features, Delta, Columns, Compress, Verify, Decompress, Seal, Index, Storage, Memory, Rest}

// rules say whose a sample is: the first rule whose text is in any function of its stack. So what decodes a chunk again
// before it is stored is not taken for a restore, and what a part calls of the runtime is that part's.
var rules = []struct {
	text string
	part Part
}{
	{"runtime.gcBgMarkWorker", Memory},
	{"runtime.bgsweep", Memory},
	{"runtime.bgscavenge", Memory},
	{"repo.(*Repo).verifyPayload", Verify},
	{"repo.(*Repo).verifyDelta", Verify},
	{"gpdedup/columns.", Columns},
	{"zstd.(*Encoder)", Compress},
	{"zstd.(*Decoder)", Decompress},
	{"gpdedup/delta.", Delta},
	{"chunking.(*Featurer)", Features},
	{"chunking.(*sampler)", Features},
	{"restic/chunker", Cut},
	{"gpdedup/digest.", Hash},
	{"zeebo/blake3", Hash},
	{"repo/seal.", Seal},
	{"crypto/", Seal},
	{"chunking.(*Cutter)", Cut},
	{"gpdedup/index.", Index},
	{"repo/pack.", Storage},
	{"gpdedup/storage", Storage},
	{"syscall.", Storage},
	{"runtime.mallocgc", Memory},
	{"runtime.gc", Memory},
	{"runtime.memclr", Memory},
}

func partOf(stack []string) Part {
	for _, rule := range rules {
		for _, function := range stack {
			if strings.Contains(function, rule.text) {
				return rule.part
			}
		}
	}
	return Rest
}

// sortOut reads what `go tool pprof -traces` prints: for each stack a time and its functions, the innermost first.
func sortOut(traces io.Reader) (map[Part]time.Duration, error) {
	parts := map[Part]time.Duration{}
	var stack []string
	var took time.Duration
	done := func() {
		if took > 0 {
			parts[partOf(stack)] += took
		}
		stack, took = nil, 0
	}
	begun := false
	lines := bufio.NewScanner(traces)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "-----------+") {
			begun = true
			done()
			continue
		}
		if !begun || line == "" {
			continue
		}
		if took == 0 {
			value, function, ok := strings.Cut(line, " ")
			if !ok || strings.HasSuffix(value, ":") { // a label
				continue
			}
			var err error
			if took, err = time.ParseDuration(strings.Replace(value, "mins", "m", 1)); err != nil {
				return nil, fmt.Errorf("read a stack's time: %w", err)
			}
			line = strings.TrimSpace(function)
		}
		stack = append(stack, line)
	}
	done()
	return parts, lines.Err()
}
