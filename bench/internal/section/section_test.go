package section

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	document := filepath.Join(t.TempDir(), "doc.md")
	const text = "a\n<!-- one:begin -->\nold\n<!-- one:end -->\nb\n<!-- two:begin -->\n<!-- two:end -->\nc\n"
	if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Check(document, "one", "two"); err != nil {
		t.Error(err)
	}
	for range 2 { // the second time changes nothing
		for name, content := range map[string]string{"one": "\nnew\n", "two": "second"} {
			if err := Replace(document, name, content); err != nil {
				t.Fatal(err)
			}
		}
		const want = "a\n<!-- one:begin -->\n\nnew\n\n<!-- one:end -->\nb\n<!-- two:begin -->\n\nsecond\n\n<!-- two:end -->\nc\n"
		if got, err := os.ReadFile(document); err != nil || string(got) != want {
			t.Errorf("%v: %q", err, got)
		}
	}
	if err := Check(document, "one", "three"); err == nil {
		t.Error("a section that is not there is found")
	}
	if err := Replace(document, "three", "x"); err == nil {
		t.Error("a section that is not there is replaced")
	}
}
