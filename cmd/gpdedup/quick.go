package main

import (
	"reflect"
	"strings"
	"time"
)

// A server calls wal push and wal fetch for every segment, and to build the grammar of
// all commands takes as long as everything else that such a call does before its work.
// So a command line of theirs that holds nothing but whole names of flags, their values
// and the arguments is read without it, by the same tags of the same fields. Whatever
// else it holds, help and mistakes above all, is left to the grammar.

// readQuickly reads the command line into cli and returns the command and its name, or nil
// if it is not of that kind; cli is of no use then.
func readQuickly(cli *CLI, args []string) (name string, run func(g *Globals) error) {
	if len(args) < 3 || args[0] != "wal" {
		return "", nil
	}
	w := &cli.Wal
	var command any
	switch args[1] {
	case "push":
		command, run = &w.Push, func(g *Globals) error { return w.Push.Run(g, w) }
	case pushAheadCommand:
		command, run = &w.PushAhead, func(g *Globals) error { return w.PushAhead.Run(g, w) }
	case "fetch":
		command, run = &w.Fetch, func(g *Globals) error { return w.Fetch.Run(g, w) }
	case prefetchCommand:
		command, run = &w.Prefetch, func(g *Globals) error { return w.Prefetch.Run(g, w) }
	default:
		return "", nil
	}
	q := &lineReader{flags: map[string]reflect.Value{}}
	for _, holder := range []any{&cli.Globals, w, command} {
		if !q.collect(reflect.ValueOf(holder).Elem()) {
			return "", nil
		}
	}
	if !q.read(joinContent(args)[2:]) {
		return "", nil
	}
	return "wal " + args[1], run
}

// lineReader knows what may be in a command line.
type lineReader struct {
	flags     map[string]reflect.Value
	arguments []reflect.Value
}

// collect finds the flags and arguments among the fields of a struct, and gives them
// their defaults. It reports whether it understands all of them; a flag of a kind that
// it does not know is as one that is not there.
func (q *lineReader) collect(v reflect.Value) bool {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		_, command := field.Tag.Lookup("cmd")
		switch {
		case !field.IsExported() || command:
			continue
		case field.Type.Kind() == reflect.Struct: // embedded
			if !q.collect(value) {
				return false
			}
			continue
		}
		text, isSet := field.Tag.Lookup("default")
		if isSet && !set(value, text) {
			return false
		}
		if _, ok := field.Tag.Lookup("arg"); ok {
			if field.Type.Kind() != reflect.String || field.Tag.Get("optional") != "" {
				return false
			}
			q.arguments = append(q.arguments, value)
		} else if name := field.Tag.Get("name"); name != "" {
			q.flags["--"+name] = value
		}
	}
	return true
}

// read reads flags and arguments.
func (q *lineReader) read(args []string) bool {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			if len(q.arguments) == 0 {
				return false
			}
			q.arguments[0].SetString(arg)
			q.arguments = q.arguments[1:]
			continue
		}
		name, text, joined := strings.Cut(arg, "=")
		flag, ok := q.flags[name]
		switch {
		case !ok:
			return false
		case flag.Kind() == reflect.Bool:
			if joined {
				return false
			}
			flag.SetBool(true)
			continue
		case !joined:
			if len(args) == 0 || strings.HasPrefix(args[0], "-") {
				return false
			}
			text, args = args[0], args[1:]
		}
		if !set(flag, text) {
			return false
		}
	}
	return len(q.arguments) == 0
}

func set(v reflect.Value, text string) bool {
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return false
		}
		v.SetInt(int64(d))
	default:
		return false
	}
	return true
}
