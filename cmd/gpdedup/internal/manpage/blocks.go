package manpage

import "strings"

// block is a paragraph, an item of a list, or lines that stay as they are.
type block struct {
	lines         []string
	literal, item bool
}

// blocks takes the text of a help page apart. Lines that a tab begins stay as they are;
// "- " begins an item; an empty line ends a paragraph.
func blocks(detail string) []block {
	var all []block
	var at *block
	for line := range strings.Lines(detail) {
		line = strings.TrimRight(line, " \n")
		code, literal := strings.CutPrefix(line, "\t")
		item, begins := strings.CutPrefix(line, "- ")
		switch {
		case line == "":
			at = nil
			continue
		case literal:
			line = code
		case begins:
			line, at = item, nil
		}
		if at == nil || at.literal != literal {
			all = append(all, block{literal: literal, item: begins})
			at = &all[len(all)-1]
		}
		at.lines = append(at.lines, line)
	}
	return all
}
