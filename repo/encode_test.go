package repo

import (
	"bytes"
	"testing"

	"github.com/gpdedup/gpdedup/storage/mem"
)

// TestColumnsThatDoNotComeBack: a table whose columns do not make it again, or that cannot be split, is stored all the same, as a whole, and as it was.
func TestColumnsThatDoNotComeBack(t *testing.T) {
	text := tableText(t, 200<<10)
	stored := make(map[broken]int64)
	wrong, panics := broken{encodeColumns: true}, broken{panicColumns: true}
	for _, fault := range []broken{{}, wrong, panics} {
		st := mem.New()
		r := newTestRepo(t, st, Secret{}, Options{Limits: testLimits})
		r.broken = fault
		name := backupName("20261101000000", "t")
		rep := put(t, r, name, text, WriteOptions{})
		stored[fault] = int64(rep.Stats.NewStored)
		var out bytes.Buffer
		if err := r.Restore(ctx, name, &out, RestoreOptions{}); err != nil || !bytes.Equal(out.Bytes(), text) {
			t.Errorf("%d bytes came back: %v", out.Len(), err)
		}
	}
	if by := stored[broken{}]; by >= stored[wrong] || by >= stored[panics] {
		t.Errorf("%d bytes stored by columns, %d and %d as a whole", by, stored[wrong], stored[panics])
	}
}
