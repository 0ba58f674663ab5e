package backups

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Every field of the JSON documents is explained in docs/json-backup.md.
func TestJSONIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/json-backup.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{Summary{}, Detail{}, Stream{}, Link{}, VerifyReport{}, Problem{}, ExportReport{}, Group{}, Decision{}} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Anonymous || !f.IsExported() {
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(name) {
				t.Errorf("%s.%s has the name %q", typ, f.Name, name)
			}
			if !regexp.MustCompile(`[` + "`" + `{, ]` + name + `[` + "`" + `},]`).Match(doc) {
				t.Errorf("%s is not explained", name)
			}
		}
	}
	for _, s := range []Status{Complete, Failed, Incomplete, BrokenChain, Damaged, Deleted, absent} {
		if !strings.Contains(string(doc), "`"+string(s)+"`") {
			t.Errorf("status %s is not explained", s)
		}
	}
}
