package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// unseen are messages that no user meets: the program itself decides on them, or they
// never leave a test.
var unseen = []string{
	"enough", "final", "stopped", "nobody reads any more", "payload was not loaded", "read stream: closed",
	"a generation was removed", "…: marked by a reader", "cut short", "no time left", "no such file",
	"usage", // a prefix of what is wrong
	"load fragment …: …", "… …: …", "… …", "stored already with other content: stored from …",
}

// prefix is a message that says nothing but where the cause comes from, which follows it.
var prefix = regexp.MustCompile(`^[-a-z]+:[ …:]*$`)

// letters of a message that must be its own before it says anything.
const letters = 3

// Every message that is made for users stands in docs/troubleshooting.md, with what to do.
func TestEveryMessageIsDocumented(t *testing.T) {
	t.Parallel()
	patterns := documented(t)
	for _, m := range messages(t) {
		if !m.told || own(m.text) < letters || slices.Contains(unseen, m.text) || prefix.MatchString(m.text) {
			continue
		}
		said := wordingOf(m.text)
		found := slices.ContainsFunc(patterns, func(p wording) bool { return fits(p, said) })
		if !found {
			t.Errorf("%s: docs/troubleshooting.md lacks `%s`", strings.TrimPrefix(m.where, root+"/"), strings.Trim(m.text, ": "))
		}
	}
}

// What the page explains is what the program says, not what it once said.
func TestDocumentedMessagesExist(t *testing.T) {
	t.Parallel()
	var said []wording
	for _, m := range messages(t) {
		said = append(said, wordingOf(m.text))
	}
	for _, p := range documented(t) {
		if slices.Contains(others, p.text) {
			continue
		}
		if !slices.ContainsFunc(said, func(m wording) bool { return m.own >= letters && fits(p, m) }) {
			t.Errorf("docs/troubleshooting.md explains `%s`, which nothing says", p.text)
		}
	}
}

// others are messages of the libraries and the system.
var others = []string{
	"unexpected argument …", "unknown flag …", "… must be one of … but got …",
	"open …: permission denied", "read key file …: no such file or directory",
}

// wording is a text in which … stands for anything.
type wording struct {
	text   string
	own    int
	within *regexp.Regexp
}

func wordingOf(text string) wording {
	parts := strings.Split(strings.Trim(text, ": …"), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return wording{text, own(text), regexp.MustCompile("(^|[^a-z])" + strings.Join(parts, ".*") + "($|[^a-z])")}
}

// fits reports whether a pattern of the page is about a message: it occurs in it, and is
// half of it, or the other way round.
func fits(pattern, message wording) bool {
	return pattern.own >= letters && 2*pattern.own >= message.own && pattern.within.MatchString(message.text) ||
		message.own >= 2*letters && message.within.MatchString(pattern.text)
}

func own(text string) int {
	n := 0
	for _, r := range text {
		if unicode.IsLetter(r) {
			n++
		}
	}
	return n
}

// documented are the messages of the page: what stands between backquotes in the first
// column of its tables.
func documented(t *testing.T) []wording {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	var patterns []wording
	table := false
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "|") {
			table = false
			continue
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if first == "message" {
			table = true
			continue
		}
		if !table {
			continue
		}
		for i, part := range strings.Split(first, "`") {
			if i%2 == 1 {
				patterns = append(patterns, wordingOf(part))
			}
		}
	}
	if len(patterns) < 100 {
		t.Fatalf("only %d messages were found", len(patterns))
	}
	return patterns
}
