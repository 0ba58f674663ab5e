package repo

import (
	"context"

	"github.com/gpdedup/gpdedup/digest"
	"github.com/gpdedup/gpdedup/repo/manifest"
)

// broken removes rules of the protocol between writers and collectors, one by one,
// for the tests that show that each is needed: see sim_broken_test.go. The zero
// value, which is all that anything else ever has, is correct.
type broken struct {
	// The writer: publish, then look.
	writeIndexFirst      bool // index/ is listed before gc/
	writeHitCondemned    bool // a hit in a condemned pack is a hit
	writeHitBaseless     bool // a delta whose base has no location is a hit
	writeTrustPrevious   bool // a pack known from a previous manifest is not asked for
	writeManifestFirst   bool // the manifest goes out before the fragment
	writeNoLook          bool // nothing is looked at after the manifest
	writeLookFirst       bool // gc/ is looked at before the manifest goes out
	writeStatFirst       bool // packs are asked for before gc/ is listed
	writeNoStat          bool // condemned packs are found, absent ones are not
	writeNoCondemned     bool // absent packs are found, condemned ones are not
	writeLookAtOwn       bool // packs that hold bases only are not looked at
	writeBaseless        bool // a copied delta's base gets no location of its own
	writeCountCondemned  bool // a copy in a condemned pack is another location
	writeIgnoreTombstone bool // a tombstone seen in the look is no failure
	writeAgainNoLook     bool // "stored already" is a success without a look

	// Undelete.
	undeleteNoLook    bool // nothing is looked at after the tombstone is gone
	undeleteNoPutBack bool // too late, and the tombstone stays away
	undeleteLookFirst bool // the look comes before the tombstone goes

	// The collector: condemn, then look.
	collectCondemnLate        bool // the list is put after the listings that decide
	collectTombstonesFirst    bool // tombstones are read before the list that names their roots is put
	collectSweepLate          bool // lists first seen in the second look are swept
	collectRootsFirst         bool // manifests are listed before the first look at gc/
	collectSkipUnnamed        bool // packs that no fragment names are taken for empty
	collectOneLook            bool // no second look at gc/
	collectOnePackListing     bool // no second listing of packs
	collectCountCondemned     bool // a copy in a condemned pack is another location
	collectCountUnnamed       bool // so is one in a pack that no fragment names
	collectCountBaseless      bool // so is a delta whose base has none
	collectIgnoreBases        bool // bases of live chunks are not live
	collectHintBases          bool // bases are taken from manifests, not from every copy
	collectNoRescue           bool // packs go although live chunks have no other location
	collectRescueLate         bool // packs go before the copies of their chunks come
	collectWithdraw           bool // condemnations of packs that turn out live are withdrawn
	collectIgnore404          bool // what is gone between listing and reading is left out
	collectSkipRoots          bool // a root that cannot be read is left out
	collectListGoesEarly      bool // a condemned list goes with its packs
	collectTombstoneGoesEarly bool // a tombstone goes with its manifests
	collectManifestsLast      bool // packs go before the manifests of deleted roots

	// No rules, but faults.
	encodeColumns bool // what is encoded by columns does not decode to what it was
	panicColumns  bool // to encode by columns panics

	// Merging fragments.
	mergePacksFirst    bool // packs are listed before the inputs are read
	mergeDropCondemned bool // entries of condemned packs that are still there are dropped
	mergePutLast       bool // inputs go before the merged fragment comes
}

// columns does to a payload by columns what a fault would have done.
func (b *broken) columns(payload []byte) {
	if b.encodeColumns {
		payload[len(payload)-1] ^= 1
	}
	if b.panicColumns {
		_ = payload[len(payload):][0]
	}
}

// brokenStatFirst asks for the packs before gc/ is listed.
func (r *Repo) brokenStatFirst(ctx context.Context, packs []digest.ID) (map[digest.ID]bool, error) {
	if !r.broken.writeStatFirst {
		return nil, nil
	}
	return r.unsafePacks(ctx, &gcState{}, packs)
}

// brokenLook takes out of what a look found, and of the packs it is about to ask
// for, what a removed rule would have put there.
func (r *Repo) brokenLook(gc *gcState, m *manifest.Manifest, packs []digest.ID) []digest.ID {
	if r.broken.writeNoCondemned {
		clear(gc.packs)
	}
	if r.broken.writeIgnoreTombstone {
		clear(gc.tombstones)
		clear(gc.roots)
	}
	if !r.broken.writeLookAtOwn {
		return packs
	}
	seen := make(map[digest.ID]bool)
	var rows []digest.ID
	for i := range m.Table.Rows {
		if at := m.Table.Rows[i].Pack; at != manifest.InlinePack && !seen[m.Table.Packs[at].ID] {
			seen[m.Table.Packs[at].ID] = true
			rows = append(rows, m.Table.Packs[at].ID)
		}
	}
	return rows
}

// brokenBad is what a look makes of the packs that are not safe.
func (r *Repo) brokenBad(gc *gcState, bad, early map[digest.ID]bool) map[digest.ID]bool {
	for id, there := range bad {
		if !there && !gc.packs[id] && (r.broken.writeNoStat || r.broken.writeStatFirst && !isIn(early, id)) {
			delete(bad, id)
		}
	}
	return bad
}

func isIn(m map[digest.ID]bool, id digest.ID) bool { _, ok := m[id]; return ok }
