package screen

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

const (
	patience  = time.Second // nothing is shown of what is over sooner
	redraw    = 200 * time.Millisecond
	lineEvery = 10 * time.Second // where there is no terminal
)

// Progress shows how much of total, or of an unknown amount if that is 0, has been
// dealt with, until done is called: a bar on a terminal, a line now and then
// elsewhere. format writes an amount. Both functions may be called from any
// goroutine.
func (s *Screen) Progress(label string, total int64, format func(n int64) string) (update func(n int64), done func()) {
	p := &progress{screen: s, label: label, total: total, format: format, started: time.Now()}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		p.show(stop)
	}()
	return p.done.Store, func() {
		close(stop)
		<-stopped
	}
}

type progress struct {
	screen  *Screen
	label   string
	total   int64
	format  func(n int64) string
	started time.Time
	done    atomic.Int64
}

func (p *progress) show(stop <-chan struct{}) {
	every := lineEvery
	if p.screen.terminal {
		every = redraw
		defer p.screen.setBar("")
	}
	select {
	case <-stop:
		return
	case <-time.After(patience):
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		elapsed := time.Since(p.started)
		if p.screen.terminal {
			p.screen.setBar(p.line(elapsed, p.screen.width()))
		} else {
			_, _ = p.screen.Write([]byte(p.line(elapsed, 0) + "\n")) // nobody can be told
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// line returns label, bar, share, amount, rate and what time is left. A width of 0
// is no terminal's: no bar.
func (p *progress) line(elapsed time.Duration, width int) string {
	n := p.done.Load()
	rate := float64(n) / elapsed.Seconds()
	amount := fmt.Sprintf("%s, %s/s", p.format(n), p.format(int64(rate)))
	if p.total <= 0 {
		return cut(fmt.Sprintf("%s: %s", p.label, amount), width)
	}
	share := min(float64(n)/float64(p.total), 1)
	amount = fmt.Sprintf("%3.0f%%  %s of %s, %s/s", 100*share, p.format(n), p.format(p.total), p.format(int64(rate)))
	if n > 0 {
		left := time.Duration(float64(elapsed) * (1/share - 1)).Round(time.Second)
		amount += fmt.Sprintf(", %s left", left)
	}
	if room := min(width-len(p.label)-len(amount)-6, 30); room >= 10 {
		full := int(share * float64(room))
		return fmt.Sprintf("%s [%s%s] %s", p.label, strings.Repeat("=", full), strings.Repeat(" ", room-full), amount)
	}
	return cut(fmt.Sprintf("%s: %s", p.label, strings.TrimSpace(amount)), width)
}

// cut keeps a line from running over the edge, where it could not be redrawn.
func cut(s string, width int) string {
	if width > 1 && len(s) >= width {
		return strings.ToValidUTF8(s[:width-1], "")
	}
	return s
}
