package repo

import (
	"bytes"
	"testing"

	"github.com/gpdedup/gpdedup/storage/mem"
)

// TestColumnsThatDoNotComeBack: a table whose columns do not make it again is stored all the same, as a whole, and as it was.
func TestColumnsThatDoNotComeBack(t *testing.T) {
	text := tableText(t, 200<<10)
	stored := make(map[bool]int64)
	for _, wrong := range []bool{false, true} {
		st := mem.New()
		r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
		r.broken.encodeColumns = wrong
		name := backupName("20261101000000", "t")
		rep := put(t, r, name, text, WriteOptions{})
		stored[wrong] = int64(rep.Stats.NewStored)
		var out bytes.Buffer
		if err := r.Restore(ctx, name, &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), text) {
			t.Errorf("%d bytes came back: %v", out.Len(), err)
		}
	}
	if stored[false] >= stored[true] {
		t.Errorf("%d bytes stored by columns, %d as a whole", stored[false], stored[true])
	}
}
