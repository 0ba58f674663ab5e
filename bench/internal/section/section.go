// Package section replaces what lies between two markers of a Markdown document:
//
//	<!-- NAME:begin -->
//	<!-- NAME:end -->
//
// So a program writes its own figures, and people write what is around them.
package section

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Check returns an error unless the document has a section of each of the names: to be asked before the long work.
func Check(document string, names ...string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, _, err := cut(document, text, name); err != nil {
			return err
		}
	}
	return nil
}

// Replace puts content, with an empty line before and behind it, into the section of that name. The document is replaced
// as a whole: whoever reads it sees the old one or the new one.
func Replace(document, name, content string) error {
	document = filepath.Clean(document)
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, after, err := cut(document, text, name)
	if err != nil {
		return err
	}
	info, err := os.Stat(document)
	if err != nil {
		return err
	}
	content = "\n" + string(bytes.Trim([]byte(content), "\n")) + "\n\n"
	temporary := document + ".new"
	if err := os.WriteFile(temporary, bytes.Join([][]byte{before, []byte(content), after}, nil), info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(temporary, document)
}

// cut returns what comes before the section's content, the marker included, and what comes behind it.
func cut(document string, text []byte, name string) (before, after []byte, err error) {
	begin, end := fmt.Appendf(nil, "<!-- %s:begin -->\n", name), fmt.Appendf(nil, "<!-- %s:end -->\n", name)
	i := bytes.Index(text, begin)
	j := bytes.Index(text, end)
	if i < 0 || j < i+len(begin) {
		return nil, nil, fmt.Errorf("update %s: it has no lines %q and %q, in this order", document, bytes.TrimSpace(begin), bytes.TrimSpace(end))
	}
	return text[:i+len(begin)], text[j:], nil
}
