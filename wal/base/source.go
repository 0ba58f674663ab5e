package base

import (
	"io"
)

// Source gives a base backup, archive after archive, as a server or pg_basebackup does.
type Source interface {
	// Next returns the next archive, and the oid of the tablespace that it is of, "" for
	// the data directory. It is io.EOF after the last one. What the one before was not
	// read to its end is lost.
	Next() (oid string, r io.Reader, err error)
	// End is called after the last archive. It returns backup_manifest, nil if that was
	// a member of an archive, and completes what is known of the backup.
	End(*Info) ([]byte, error)
}

// archiveSource is a single archive, as pg_basebackup writes it to standard output.
type archiveSource struct {
	r    io.Reader
	done bool
}

// Archive returns the Source of what `pg_basebackup -D - -Ft` writes.
func Archive(r io.Reader) Source { return &archiveSource{r: r} }

func (a *archiveSource) Next() (string, io.Reader, error) {
	if a.done {
		return "", nil, io.EOF
	}
	a.done = true
	return "", a.r, nil
}

func (a *archiveSource) End(*Info) ([]byte, error) { return nil, nil }
