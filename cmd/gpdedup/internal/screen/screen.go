// Package screen is standard error: lines, and below them, where it is a terminal,
// a progress bar that lines do not run into.
package screen

import (
	"os"
	"sync"

	"golang.org/x/term"
)

// Screen is a file that people read. It is safe for concurrent use.
type Screen struct {
	f        *os.File
	terminal bool

	mu  sync.Mutex
	bar string // what stands on the last line, without an end of line
}

// New returns the screen that f is.
func New(f *os.File) *Screen {
	return &Screen{f: f, terminal: term.IsTerminal(int(f.Fd()))}
}

// Terminal reports whether there is a person in front of it.
func (s *Screen) Terminal() bool { return s.terminal }

// Write writes whole lines, above the bar if there is one.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bar := s.bar
	s.draw("")
	n, err := s.f.Write(p)
	s.draw(bar)
	return n, err
}

// draw replaces the bar. The caller holds the lock.
func (s *Screen) draw(bar string) {
	if bar == s.bar {
		return
	}
	s.bar = bar
	_, _ = s.f.WriteString("\r\x1b[K" + bar) // nobody can be told if this fails
}

func (s *Screen) setBar(bar string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw(bar)
}

// width is how many columns the terminal has.
func (s *Screen) width() int {
	if w, _, err := term.GetSize(int(s.f.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}
