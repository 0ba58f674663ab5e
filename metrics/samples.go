package metrics

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// samples is what a file holds: for each metric its samples by the text of their labels.
type samples struct{ sets map[string]*set }

type set struct {
	kind   Kind
	help   string
	values map[string]float64
	// afresh are labels: older samples that begin and end with them are to go. In a file
	// they are comments.
	afresh []string
}

func newSamples() *samples { return &samples{make(map[string]*set)} }

func (s *samples) of(name string) *set {
	x := s.sets[name]
	if x == nil {
		x = &set{values: make(map[string]float64)}
		s.sets[name] = x
	}
	return x
}

// labelText is how a sample's labels are written, in the order that they are given.
func labelText(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i] + `="` + escape(pairs[i+1]) + `"`)
	}
	return b.String()
}

// escape writes a label's value as the format wants it.
func escape(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if !strings.ContainsAny(s, "\\\n\"") {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(s)
}

// add adds what a run did, or several.
func (s *samples) add(update *samples) {
	for name, from := range update.sets {
		to := s.of(name)
		to.kind, to.help = from.kind, from.help
		for _, labels := range from.afresh {
			maps.DeleteFunc(to.values, func(key string, _ float64) bool { return covers(labels, key) })
		}
		for key, v := range from.values {
			if from.kind == Counter {
				to.values[key] += v
			} else {
				to.values[key] = v
			}
		}
	}
}

// covers reports whether a sample has the labels of a command and a repository.
func covers(labels, key string) bool {
	for labels != "" {
		var label string
		if label, labels = nextLabel(labels); !strings.Contains(","+key+",", ","+label+",") {
			return false
		}
	}
	return true
}

// nextLabel cuts the first label off.
func nextLabel(text string) (label, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// signature is what a file of ours begins with: no other is ever replaced.
const signature = "# Metrics of gpdedup, for the textfile collector of node_exporter. Every run adds to it.\n"

const afreshPrefix = "# afresh "

// encode writes the samples in Prometheus' text format, sorted. withAfresh is for what is
// left to be added.
func (s *samples) encode(withAfresh bool) []byte {
	var b bytes.Buffer
	b.WriteString(signature)
	for _, name := range slices.Sorted(maps.Keys(s.sets)) {
		x := s.sets[name]
		if withAfresh {
			for _, labels := range x.afresh {
				fmt.Fprintf(&b, "%s%s %s\n", afreshPrefix, name, labels)
			}
		}
		if len(x.values) == 0 && !withAfresh {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, x.help, name, x.kind)
		for _, key := range slices.Sorted(maps.Keys(x.values)) {
			b.WriteString(name + "{" + key + "} " + strconv.FormatFloat(x.values[key], 'f', -1, 64) + "\n")
		}
	}
	return b.Bytes()
}

// decode reads what encode wrote; what it does not understand it leaves out. ours is false
// for a file that encode did not write; an empty one is ours.
func decode(data []byte) (s *samples, ours bool) {
	s = newSamples()
	if len(data) == 0 {
		return s, true
	}
	if !bytes.HasPrefix(data, []byte(signature)) {
		return s, false
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxFile)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, afreshPrefix):
			if name, labels, ok := strings.Cut(line[len(afreshPrefix):], " "); ok {
				s.of(name).afresh = append(s.of(name).afresh, labels)
			}
		case strings.HasPrefix(line, "# HELP "):
			if name, help, ok := strings.Cut(line[len("# HELP "):], " "); ok {
				s.of(name).help = help
			}
		case strings.HasPrefix(line, "# TYPE "):
			if name, kind, ok := strings.Cut(line[len("# TYPE "):], " "); ok {
				s.of(name).kind = Kind(kind)
			}
		case strings.HasPrefix(line, "#"):
		default:
			name, rest, _ := strings.Cut(line, "{")
			end := strings.LastIndex(rest, "} ")
			if end < 0 {
				continue
			}
			if v, err := strconv.ParseFloat(rest[end+2:], 64); err == nil {
				s.of(name).values[rest[:end]] = v
			}
		}
	}
	return s, true
}
