package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gpdedup/gpdedup/cmd/gpdedup/internal/quit"
	"github.com/gpdedup/gpdedup/plugin"
)

// grace is how long a command may take to end after it was asked to. What it is
// stuck in by then, say a network file system, will not end soon; and to be killed
// is always safe.
const grace = 5 * time.Second

// signals ends a context when the process is asked to end.
type signals struct {
	Context context.Context //nolint:containedctx // of the process

	mu    sync.Mutex
	got   syscall.Signal
	quiet bool
	end   func(syscall.Signal) // ends the process
}

// Quiet makes a signal end the process without a word, for commands whose standard
// error is a server's log: it has asked for that end itself. Nor does it matter then
// that nobody reads that log any more.
func (s *signals) Quiet() {
	s.mu.Lock()
	s.quiet = true
	s.mu.Unlock()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// catchSignals waits for SIGINT, SIGTERM and SIGQUIT, unless the process was started
// with them ignored. A second one ends the process at once.
func catchSignals(parent context.Context) *signals {
	ctx, cancel := context.WithCancelCause(parent)
	s := &signals{Context: ctx, end: plugin.DieBy}
	incoming := make(chan os.Signal, 1)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(incoming, sig)
		}
	}
	quit.Restore()
	go func() {
		sig, _ := (<-incoming).(syscall.Signal)
		s.mu.Lock()
		s.got = sig
		s.mu.Unlock()
		cancel(errors.New("ended by " + signalName(sig)))
		select {
		case <-incoming: // asked twice
		case <-time.After(grace):
		}
		s.DieIfAsked()
	}()
	return s
}

// DieIfAsked ends the process by the signal that it got, if it got one: whoever
// waits for it, a shell in a loop for instance, is then told why it ended.
func (s *signals) DieIfAsked() {
	s.mu.Lock()
	sig, quiet := s.got, s.quiet
	s.mu.Unlock()
	if sig == 0 {
		return
	}
	if !quiet {
		fmt.Fprintf(os.Stderr, "gpdedup: ended by %s\n", signalName(sig))
	}
	s.end(sig)
}

func signalName(sig syscall.Signal) string {
	switch sig {
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGQUIT:
		return "SIGQUIT"
	}
	return "SIGTERM"
}
