package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// newLogger returns what the packages below report to while they carry on:
// warnings, and with --verbose everything.
func newLogger(g *Globals) *slog.Logger {
	level := slog.LevelWarn
	switch {
	case g.Quiet:
		level = slog.LevelError
	case g.Verbose:
		level = slog.LevelDebug
	}
	return slog.New(&lineHandler{w: g.screen, level: level})
}

// lineHandler writes records as plain lines for people: gpdedup: <level>:
// <message>: <name>=<value> …
type lineHandler struct {
	w     io.Writer
	level slog.Level
	attrs string
	group string
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString("gpdedup: ")
	if r.Level >= slog.LevelWarn {
		b.WriteString("warning: ")
	}
	b.WriteString(r.Message)
	attrs := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs += formatAttr(h.group, a)
		return true
	})
	if attrs != "" {
		b.WriteString(":" + attrs)
	}
	_, err := io.WriteString(h.w, oneLine(b.String())+"\n")
	return err
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += formatAttr(h.group, a)
	}
	return &c
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

func formatAttr(group string, a slog.Attr) string {
	return " " + group + a.Key + "=" + a.Value.Resolve().String()
}
