package plugin

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gpdedup/gpdedup/repo"
)

func TestExitCode(t *testing.T) {
	for _, x := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk full"), 1},
		{fmt.Errorf("a: %w", repo.ErrNoStream), 1},
		{usagef("what?"), 2},
		{fmt.Errorf("a: %w", repo.ErrUsage), 2},
		{fmt.Errorf("a: %w", &repo.ConflictError{}), 3},
		{fmt.Errorf("a: %w", repo.ErrDeleted), 3},
		{fmt.Errorf("a: %w", repo.ErrDamaged), 4},
		{&repo.DamagedError{Err: errors.New("gone")}, 4},
		{fmt.Errorf("a: %w", repo.ErrNotRepository), 5},
		{fmt.Errorf("a: %w", repo.ErrWrongKey), 5},
		{fmt.Errorf("a: %w", repo.ErrNewer), 5},
		// Several at once.
		{&repo.DamagedError{Err: repo.ErrNewer}, 5},
		{fmt.Errorf("%w: %w", repo.ErrWrongKey, repo.ErrUsage), 2},
		{errors.Join(repo.ErrWrongKey, repo.ErrDamaged), 5},
	} {
		if got := ExitCode(x.err); got != x.want {
			t.Errorf("%v: got %d, want %d", x.err, got, x.want)
		}
	}
}

func TestReport(t *testing.T) {
	var b strings.Builder
	Report(&b, repo.WithHint(errors.Join(errors.New("store a\x1b[2J\u009b"), errors.New("second\nline")), "do\nthis"))
	if want := "gpdedup: store a?[2J?; second; line\nhint: do; this\n"; b.String() != want {
		t.Errorf("got %q", b.String())
	}
	b.Reset()
	Report(&b, errors.New(strings.Repeat("ä", 1<<20)))
	if b.Len() > 2*maxLine {
		t.Errorf("%d bytes", b.Len())
	}
}
