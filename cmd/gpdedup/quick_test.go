package main

import (
	"reflect"
	"strings"
	"testing"
)

// TestReadQuickly: what is read without the grammar is what the grammar makes of it, and
// what the grammar does not take is left to it.
func TestReadQuickly(t *testing.T) {
	const all = "--repo /r --key-file=/k --password-file p --password-command c --namespace n --cache-dir d --config y " +
		"--endpoint http://x --region r --ca-file f --storage-class S --limit-upload 1MB --limit-download 2MB " +
		"--json --quiet --verbose --cluster c --content -1 --pgdata /data"
	quick := []string{
		"wal push pg_wal/000000010000000000000001",
		"wal push --cluster main pg_wal/1 --timeout 5s --no-ahead --new-epoch",
		"wal push " + all + " pg_wal/1",
		"wal push --cluster= pg_wal/1",
		"wal push a=b",
		"wal fetch 000000010000000000000001 pg_wal/RECOVERYXLOG",
		"wal fetch " + all + " --patience=1m30s --prefetch 0 --spool-dir s f p",
		"wal prefetch " + all + " --prefetch 1GiB f p",
		"wal fetch --content=-1 f p",
	}
	for _, line := range quick {
		args := strings.Fields(line)
		got, want := &CLI{}, &CLI{}
		name, run := readQuickly(got, args)
		if run == nil {
			t.Errorf("%s: not read", line)
			continue
		}
		parser, err := newParser(want)
		if err != nil {
			t.Fatal(err)
		}
		command, err := parser.Parse(joinContent(args))
		if err != nil {
			t.Errorf("%s: the grammar: %v", line, err)
			continue
		}
		if !strings.HasPrefix(command.Command(), name+" ") {
			t.Errorf("%s is called %q, not %q", line, name, command.Command())
		}
		want.Wal.forgetOthers(args[1])
		if !reflect.DeepEqual(got.Globals, want.Globals) || !reflect.DeepEqual(got.Wal, want.Wal) {
			t.Errorf("%s:\ngot  %+v, %+v\nwant %+v, %+v", line, got.Globals, got.Wal, want.Globals, want.Wal)
		}
	}
	for _, line := range []string{
		"", "wal", "wal push", "wal push --help", "wal push -h x", "wal push x y", "wal fetch x", "wal push --nonsense x", "wal push -q x",
		"wal push --timeout soon x", "wal push --timeout", "wal push --repo --json x", "wal push --json=false x", "wal push -- -x",
		"wal push --concurrency 2 x", "wal push --path-style x", "wal push --time 5s x", "wal list", "--repo r wal push x",
		"repo info", "wal push --patience 5s x", "wal fetch --timeout 5s f p", "wal push - x",
	} {
		if _, run := readQuickly(&CLI{}, strings.Fields(line)); run != nil {
			t.Errorf("%s: read", line)
		}
	}
}

// forgetOthers takes away what the grammar gave to commands that were not called.
func (c *WalCmd) forgetOthers(called string) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if _, ok := v.Type().Field(i).Tag.Lookup("cmd"); ok && !strings.EqualFold(v.Type().Field(i).Name, called) {
			v.Field(i).SetZero()
		}
	}
}
