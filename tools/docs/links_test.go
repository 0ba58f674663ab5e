package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every link of the documents leads somewhere, its section included, and every document
// is in the table of contents.
func TestLinks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	contents := read(t, filepath.Join(root, "docs", "README.md"))
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(contents, "("+name+")") {
			t.Errorf("docs/README.md does not lead to %s", name)
		}
	}
	plots := filepath.Join(root, "docs", "plots")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, section, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(plots); err != nil && strings.HasPrefix(target, "plots/") {
				continue // nobody has run the benchmarks yet that draw them
			}
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", filepath.Base(page), err)
			} else if section != "" && !hasSection(read(t, path), section) {
				t.Errorf("%s: %s has no section %s", filepath.Base(page), target, section)
			}
		}
	}
}

// hasSection reports whether a page has a heading whose anchor is section.
func hasSection(page, section string) bool {
	drop := regexp.MustCompile("[^a-z0-9 _-]")
	for line := range strings.Lines(page) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		anchor := drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
		if strings.ReplaceAll(anchor, " ", "-") == section {
			return true
		}
	}
	return false
}
