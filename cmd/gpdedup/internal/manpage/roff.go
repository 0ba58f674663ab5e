package manpage

import (
	"fmt"
	"strings"
)

// roff collects a page in the language of man(7).
type roff struct{ strings.Builder }

// macro writes a request with its arguments.
func (r *roff) macro(name string, args ...string) {
	r.WriteString("." + name)
	for _, arg := range args {
		r.WriteString(` "` + strings.ReplaceAll(escape(arg), `"`, `\(dq`) + `"`)
	}
	r.WriteByte('\n')
}

// text writes lines of running text.
func (r *roff) text(s string) {
	for line := range strings.Lines(s) {
		line = escape(strings.TrimSpace(line))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		r.WriteString(line + "\n")
	}
}

// literal writes lines as they are.
func (r *roff) literal(lines []string) {
	r.WriteString(".PP\n.RS 4\n.nf\n")
	for _, line := range lines {
		line = escape(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		r.WriteString(line + "\n")
	}
	r.WriteString(".fi\n.RE\n")
}

// term writes something, in bold, and what there is to say of it.
func (r *roff) term(term, says string) {
	r.WriteString(".TP\n")
	r.WriteString(`\fB` + escape(term) + "\\fR\n")
	r.text(says)
}

// escape keeps what roff would take for its own, and writes what is not ASCII by its
// number, so that no locale matters.
func escape(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\\':
			b.WriteString(`\e`)
		case c == '-':
			b.WriteString(`\-`)
		case c == '\'':
			b.WriteString(`\(aq`)
		case c == '`':
			b.WriteString(`\(ga`)
		case c == '^':
			b.WriteString(`\(ha`)
		case c == '~':
			b.WriteString(`\(ti`)
		case c == '…': // which a terminal without Unicode lacks
			b.WriteString("...")
		case c > '~':
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
