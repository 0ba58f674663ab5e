package spelling_test

import (
	"testing"

	"github.com/gpdedup/gpdedup/repo/spelling"
)

func TestDidYouMean(t *testing.T) {
	t.Parallel()
	known := []string{"repository", "key_file", "cache_dir", "compression", "concurrency", "log_file", "log_level", "off", "on", "wal"}
	for _, test := range []struct{ word, want string }{
		{"repositroy", `, did you mean "repository"?`},
		{"keyfile", `, did you mean "key_file"?`},
		{"key-file", `, did you mean "key_file"?`},
		{"Cache_Dir", `, did you mean "cache_dir"?`},
		{"compressoin", `, did you mean "compression"?`},
		{"co", `, did you mean "compression" or "concurrency"?`},
		{"log_", `, did you mean "log_file" or "log_level"?`},
		{"of", `, did you mean "off" or "on"?`},
		{"wla", `, did you mean "wal"?`},
		{"password", ""},
		{"x", ""},
		{"", ""},
	} {
		if got := spelling.DidYouMean(test.word, known); got != test.want {
			t.Errorf("%q: %q, want %q", test.word, got, test.want)
		}
	}
	if got := spelling.Aside("of", known); got != ` (did you mean "off" or "on"?)` {
		t.Errorf("as an aside: %q", got)
	}
	if got := spelling.Nearest("k", []string{"ka", "kb", "kc", "kd"}); len(got) != 0 {
		t.Errorf("what is near everything: %q", got)
	}
}
