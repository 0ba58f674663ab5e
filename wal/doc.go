// Package wal is PostgreSQL's archive: what archive_command and restore_command call,
// and what looks after the files.
//
// One file of the archive (a segment, a .partial, a .history or a .backup) is one
// object, complete in itself, under a key that is known from its name. There is no
// index and no manifest, and nothing here takes a lock, so a push or a fetch costs a
// handful of requests however large the archive is:
//
//	push   name and first page checked ─► hashed, compressed in pieces, decompressed again ─► sealed ─► put, never replacing
//	fetch  get ─► opened, decoded in parallel ─► hash and first page checked ─► a file that appears whole
//
// Files lie below namespace, content id and epoch. The epoch is the system identifier
// that initdb gave the cluster: files of two clusters never meet, even if both were
// given the same namespace by mistake.
//
// What the server takes the exit codes of its commands for decides about much in
// here. That a file is absent is said only when that is proved; what cannot be decided
// is an error of another kind, because the end of the archive makes a server promote.
package wal
