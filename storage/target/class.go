package target

import (
	"fmt"
	"slices"
	"strings"
)

// StorageClass says which kinds of objects go into which storage class. The zero
// value leaves all to the bucket.
type StorageClass struct{ classes map[string]string }

// classed are the kinds of objects that may get a class of their own: those that
// hold the data. What every backup and every restore reads, and what is small, is
// always in the bucket's default class.
var classed = []string{"packs", "wal"}

// archives are classes whose objects cannot be read at once.
var archives = []string{"GLACIER", "DEEP_ARCHIVE"}

// ParseStorageClass reads what users write: STANDARD_IA, which is for packs, or
// packs=STANDARD_IA,wal=GLACIER_IR.
func ParseStorageClass(text string) (StorageClass, error) {
	classes := make(map[string]string)
	for part := range strings.SplitSeq(text, ",") {
		kind, class, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named {
			kind, class = "packs", kind
		}
		switch {
		case !slices.Contains(classed, kind):
			return StorageClass{}, fmt.Errorf("storage class %q: only packs and wal may have one, not %q", text, kind)
		case class == "" || strings.ContainsAny(class, " =\t"):
			return StorageClass{}, fmt.Errorf("storage class %q: want CLASS, or packs=CLASS,wal=CLASS", text)
		case slices.Contains(archives, strings.ToUpper(class)):
			return StorageClass{}, fmt.Errorf("storage class %q: objects in %s cannot be read at once, and every backup reads what earlier ones stored", text, class)
		case classes[kind] != "":
			return StorageClass{}, fmt.Errorf("storage class %q: %s is given twice", text, kind)
		}
		classes[kind] = class
	}
	return StorageClass{classes}, nil
}
