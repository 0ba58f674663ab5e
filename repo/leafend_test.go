package repo

import (
	"testing"

	"github.com/gpdedup/gpdedup/storage/mem"
)

// TestListEndsWithALeaf: a stream whose chunks are all known may end where a leaf list
// does, so that the list is all there is to store. Where leaf lists end depends on the
// repository's key, so this takes several.
func TestListEndsWithALeaf(t *testing.T) {
	data := goldenText(3, 300<<10)
	for range 16 {
		st := mem.New()
		r := newTestRepo(t, st, Secret{}, Options{Limits: goldenLimits})
		put(t, r, backupName("20261121000000", "long"), data, WriteOptions{})
		r, err := Open(ctx, st, "write", Options{Limits: goldenLimits})
		if err != nil {
			t.Fatal(err)
		}
		again := backupName("20261122000000", "long")
		put(t, r, again, data, WriteOptions{})
		if string(restored(t, r, again)) != string(data) {
			t.Error("other bytes came back")
		}
	}
}
