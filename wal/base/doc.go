// Package base keeps PostgreSQL's base backups in a repository.
//
// What flows in: the archives of one base backup, from a server that speaks BASE_BACKUP
// or as the tar archive that pg_basebackup writes. They become one stream, a tar archive
// whose members are those of the data directory, with tablespaces in place below
// pg_tblspc; then backup_manifest; and last .gpdedup/backup.json, which says what is
// needed to list and to restore the backup, so that one read of the stream's end tells.
//
// What flows out: a data directory, every file of it checked against backup_manifest,
// with the settings of a recovery; or the tar archive.
//
// What never happens: a backup becomes visible before all of it is durable and the WAL
// that makes it consistent is in the archive, or in the backup itself.
package base
