package report

import (
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/wal/base"
)

// Report is what there is to say of a repository. Sizes are in bytes, times in UTC.
type Report struct {
	Generated  time.Time  `json:"generated"`
	Version    string     `json:"version"` // of the program
	Repository Repository `json:"repository"`
	Namespace  string     `json:"namespace,omitempty"` // if the report is about that one only

	Attention []string `json:"attention"` // what somebody should look at, a sentence each
	Totals    Totals   `json:"totals"`
	Objects   []Object `json:"objects"`
	Days      []Day    `json:"days"` // ascending, none left out

	Databases  []Database `json:"databases"`
	Tables     []Table    `json:"tables"` // those that take most
	TableCount int        `json:"table_count"`
	Streams    []Named    `json:"streams"` // likewise
	NamedCount int        `json:"stream_count"`
	Backups    []Root     `json:"backups"` // of gpbackup, base backups and versions of streams, the newest first

	Archives []Archive  `json:"wal"`
	Bases    []base.Row `json:"base_backups"`

	Check    Check     `json:"check"`
	Prune    Prune     `json:"prune"`
	Forecast *Forecast `json:"forecast,omitempty"` // nil: too few days
}

// Repository says which one it is.
type Repository struct {
	ID         string    `json:"id"`
	Location   string    `json:"location"`
	Created    time.Time `json:"created"`
	Encryption string    `json:"encryption"`
}

// Object counts the objects of one kind.
type Object = repo.ObjectStats

// Totals are of everything that is not deleted, but Stored.
type Totals struct {
	Logical    uint64 `json:"logical_bytes"`       // what restoring all of it gives, WAL left out
	Added      uint64 `json:"added_bytes"`         // what it added to the repository when it came
	Stored     int64  `json:"stored_bytes"`        // of all objects, WAL and what is deleted included
	WAL        int64  `json:"wal_stored_bytes"`    // of these, of WAL archives
	Backups    int    `json:"backups"`             // of gpbackup
	Complete   int    `json:"complete_backups"`    // of these
	Versions   int    `json:"stream_versions"`     // of named streams
	Bases      int    `json:"base_backups"`        //
	Deleted    int    `json:"deleted"`             // of all three, not removed yet
	DeletedAdd uint64 `json:"deleted_added_bytes"` // what they added
}

// Day is one day, by the storage's clock.
type Day struct {
	Date    string `json:"date"`          // YYYY-MM-DD
	Logical uint64 `json:"logical_bytes"` // of what was stored until the end of the day, and is not deleted
	Stored  int64  `json:"stored_bytes"`  // of the objects put until then that are still there
	WAL     int64  `json:"wal_bytes"`     // of these, of WAL archives
	Added   int64  `json:"added_bytes"`   // put on this day
	AddWAL  int64  `json:"added_wal_bytes"`
	Backups int    `json:"backups"` // stored on this day, of all three kinds, not deleted

	day int64
}

// Database is the backups of one database.
type Database struct {
	Namespace string    `json:"namespace"`
	Database  string    `json:"database"` // empty: no config.yaml says
	Backups   int       `json:"backups"`
	Complete  int       `json:"complete"`
	Logical   uint64    `json:"logical_bytes"`
	Added     uint64    `json:"added_bytes"`
	Last      time.Time `json:"last_complete,omitzero"` // when the newest complete one was stored
	LastSize  uint64    `json:"last_logical_bytes"`     // of that
	LastAdded uint64    `json:"last_added_bytes"`
}

// Table is one table in all backups of a database.
type Table struct {
	Namespace string `json:"namespace"`
	Database  string `json:"database"`
	Kind      string `json:"kind"`            // "table", "single_data_files" or "gpbackup_files"
	Table     string `json:"table,omitempty"` // schema.name, or "oid N"
	Backups   int    `json:"backups"`         // that have data of it
	Logical   uint64 `json:"logical_bytes"`
	Added     uint64 `json:"added_bytes"`
	LastSize  uint64 `json:"last_logical_bytes"` // in the newest backup that has it
	LastAdded uint64 `json:"last_added_bytes"`

	last string // timestamp of that
}

// Named is all versions of a stream.
type Named struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Versions  int       `json:"versions"`
	Logical   uint64    `json:"logical_bytes"`
	Added     uint64    `json:"added_bytes"`
	Last      time.Time `json:"last_stored"`
	LastSize  uint64    `json:"last_logical_bytes"`
	LastAdded uint64    `json:"last_added_bytes"`
}

// Root is a backup of gpbackup, a base backup or a version of a stream.
type Root struct {
	Class     repo.Class     `json:"class"` // "gp", "base" or "stream"
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"` // timestamp, content/label or name@version
	Database  string         `json:"database,omitempty"`
	Type      string         `json:"type,omitempty"` // of a gpbackup: "full" or "incremental"
	Status    backups.Status `json:"status"`
	Reason    string         `json:"reason,omitempty"`
	Stored    time.Time      `json:"stored,omitzero"` // its last stream, by the storage's clock
	Streams   int            `json:"streams"`
	Logical   uint64         `json:"logical_bytes"`
	Added     uint64         `json:"added_bytes"` // what the repository grew by, manifests included
}

// Archive is the WAL of one namespace and content id.
type Archive struct {
	Namespace string       `json:"namespace"`
	Content   string       `json:"content"`
	Segments  int          `json:"segments"`
	Stored    int64        `json:"stored_bytes"`
	Gaps      int          `json:"gaps"`
	Days      []ArchiveDay `json:"days"` // ascending; those without files left out
	Problem   string       `json:"problem,omitempty"`
}

// ArchiveDay is what was archived on a day, by the storage's clock.
type ArchiveDay struct {
	Date  string `json:"date"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`

	day int64
}

// Check says what checks have read.
type Check struct {
	Packs     int        `json:"packs"`
	Bytes     int64      `json:"pack_bytes"`
	ReadPacks int        `json:"read_packs"` // whole, by any check
	ReadBytes int64      `json:"read_bytes"`
	Damaged   int        `json:"damaged_packs"` // when they were last read
	Lost      int        `json:"lost_chunks"`
	Last      *time.Time `json:"last_read,omitempty"`
	Oldest    *time.Time `json:"oldest_read,omitempty"`
	Ages      []CheckAge `json:"ages"` // what of the packs was read how long ago
}

// CheckAge is the part of the packs that was last read so many days ago.
type CheckAge struct {
	Label   string `json:"label"`
	MaxDays int    `json:"max_days,omitempty"` // 0: no bound, or never
	Bytes   int64  `json:"bytes"`
}

// Prune says what a prune would give back.
type Prune struct {
	Condemned    int    `json:"condemned_packs"` // wait for the grace to pass
	Bytes        int64  `json:"condemned_bytes"`
	DeletedRoots int    `json:"deleted_roots"`
	AtMost       uint64 `json:"deleted_added_bytes"` // of these: no prune gives back more for them, as others may need some of it
	// Survey is what a dry run found; nil: nobody asked for one.
	Survey *PruneSurvey `json:"dry_run,omitempty"`
}

// PruneSurvey is what repo prune --dry-run finds.
type PruneSurvey struct {
	Free   int64 `json:"would_free_bytes"` // condemned now and before, less what must be copied
	Unused int64 `json:"unused_bytes"`     // of no use, in packs that would stay
	Kept   int64 `json:"kept_bytes"`
}
