package plugintest

// defect is one way to break the reference plugin, and what plugin_test.sh must say of it.
type defect struct {
	name     string
	sections string   // to run; "" for all
	checks   []string // that must fail, at least
	env      []string
}

// all runs every section.
const all = ""

var defects = []defect{
	{"api-version-noise", "versions", []string{"versions: plugin_api_version prints one semantic version, at least 0.3.0, and nothing else"}, nil},
	{"api-version-old", "versions", []string{"versions: plugin_api_version prints one semantic version, at least 0.3.0, and nothing else"}, nil},
	{"api-version-short", "versions", []string{"versions: plugin_api_version prints one semantic version, at least 0.3.0, and nothing else"}, nil},
	{"version-two-words", "versions", []string{"versions: --version prints one line of three words: name, 'version', number"}, nil},
	{"version-needs-home", "versions", []string{"versions: --version prints the same without a home directory"}, nil},

	{"hook-refuses-quoted-id", "hooks", []string{
		`hooks: setup_plugin_for_backup with master and "-1"`,
		`hooks: setup_plugin_for_restore with coordinator and "-1"`,
		`hooks: cleanup_plugin_for_backup with segment and "0"`,
	}, nil},
	{"hook-refuses-plain-id", "hooks", []string{"hooks: setup_plugin_for_backup with master and -1", "hooks: cleanup_plugin_for_restore with segment and 0"}, nil},
	{"hook-refuses-missing-id", "hooks", []string{"hooks: setup_plugin_for_backup with segment and no content id"}, nil},
	{"hook-refuses-missing-id-on-host", "hooks", []string{"hooks: cleanup_plugin_for_backup with segment_host and no content id"}, nil},
	{"hook-refuses-coordinator", "hooks", []string{`hooks: setup_plugin_for_backup with coordinator and "-1"`}, nil},
	{"hook-refuses-master", "hooks", []string{`hooks: setup_plugin_for_backup with master and "-1"`}, nil},
	{"hook-not-repeatable", "hooks", []string{"hooks: setup_plugin_for_backup a second and third time"}, nil},
	{"hook-not-concurrent", "hooks", []string{"hooks: setup_plugin_for_backup of six segments at once"}, nil},
	{"hook-needs-directory", "hooks backup", []string{"hooks: setup_plugin_for_restore with segment_host and no content id", "backup: setup_plugin_for_restore in another directory layout"}, nil},
	{"litter", "hooks data backup", []string{
		"hooks: setup_plugin_for_backup leaves nothing in the working directory",
		"data: backup_data and restore_data leave nothing in the working directory",
		"backup: nothing is left in the data directories",
	}, nil},
	{"cleanup-deletes", "data backup", []string{
		"data: restore_data after cleanup gives what was stored before it",
		"backup: the coordinator's files are restored",
	}, nil},
	{"hooks-after-delete-fail", "delete", []string{
		"delete: cleanup_plugin_for_backup of a deleted timestamp",
		"delete: cleanup_plugin_for_restore of a deleted timestamp",
	}, nil},

	{"backup_file-removes-source", "files", []string{"files: backup_file leaves the file as it was"}, nil},
	{"backup_file-needs-writable", "files backup", []string{"files: backup_file stores a read-only file", "backup: the coordinator's files are stored, status Success last but one"}, nil},
	{"backup_file-missing-ok", "files", []string{"files: backup_file of a missing file fails"}, nil},
	{"restore_file-keeps-readonly", "files", []string{"files: restore_file replaces a read-only file"}, nil},
	{"restore_file-missing-ok", "files", []string{"files: restore_file of a missing key fails and makes no file", "files: restore_file of a missing key fails where a file is"}, nil},
	{"restore_file-truncates-first", "files", []string{"files: restore_file of a missing key fails and makes no file", "files: restore_file of a missing key leaves an existing file alone"}, nil},
	{"restore_file-fails-though-restored", "files", []string{"files: restore_file brings the file back"}, nil},
	{"two-namespaces", "files", []string{"files: restore_data reads what backup_file stored", "files: restore_file reads what backup_data stored"}, nil},
	{"timestamp-only-from-parent", "files", []string{"files: restore_data finds a file of the timestamp in its name under any directory"}, nil},

	{"drops-last-byte", "files data gzip backup", []string{"data: restore_data gives text", "files: restore_file brings the file back", "backup: the coordinator's files are the same"}, nil},
	{"empty-stream-fails", "files data subset", []string{"data: backup_data takes an empty stream", "files: backup_file stores an empty file", "subset: restore_data_subset gives nothing of an empty stream (1 0 0)"}, nil},
	{"text-only", "data", []string{"data: restore_data gives binary data"}, nil},
	{"no-large-streams", "data", []string{"data: restore_data gives a million bytes"}, nil},
	{"short-read", "data", []string{"data: backup_data waits for the end of a slow writer"}, nil},
	{"no-streams-without-home", "data", []string{"data: backup_data and restore_data work without a home directory"}, nil},
	{"key-needs-backups", "data", []string{"data: backup_data takes a key whose parent is not backups"}, nil},
	{"other-parent-not-found", "files data subset backup", []string{
		"files: restore_file writes under another parent directory",
		"data: restore_data under another parent directory",
		"subset: restore_data_subset gives a range under another parent directory (1 5 50)",
		"backup: 4 tables of 3 segments are copied in, every row the same",
		"backup: a segment's stream is restored under another segment",
	}, nil},
	{"restore_data-missing-ok", "data", []string{"data: restore_data of a missing key fails before any byte", "data: restore_data of a missing timestamp fails before any byte"}, nil},
	{"restore_data-missing-emits-bytes", "data", []string{"data: restore_data of a missing key fails before any byte"}, nil},
	{"missing-config-ok", "data", []string{"data: backup_data fails if there is no configuration", "data: restore_data fails if there is no configuration"}, nil},
	{"same-content-refused", "files data", []string{"data: backup_data of the same content twice is a success", "files: backup_file of the same file twice is a success"}, nil},
	{"overwrites-silently", "files data", []string{
		"data: backup_data does not silently replace other content",
		"data: restore_data after a refused backup_data gives the first content",
		"files: backup_file does not silently replace other content",
		"files: restore_file after a refused backup_file gives the first content",
	}, nil},
	{"conflict-ignored", "files data", []string{"data: backup_data does not silently replace other content"}, nil},
	{"conflict-destroys", "files data", []string{"data: restore_data after a refused backup_data gives the first content"}, nil},
	{"concurrent-corrupt", "data", []string{"data: restore_data gives each of six streams that were stored at once"}, nil},
	{"fails-though-stored", "data", []string{"data: backup_data takes text", "data: backup_data of six streams at once"}, nil},
	{"epipe-noise", "data", []string{
		"data: restore_data says nothing when its reader closes early",
		"data: restore_data says nothing when its reader closes early and SIGPIPE is ignored",
	}, nil},

	{"commits-on-signals", "signals", []string{
		"signals: backup_data fails when SIGINT comes in mid stream",
		"signals: backup_data fails when SIGTERM comes in mid stream",
		"signals: restore_data of a stream ended by SIGTERM fails before any byte",
		"signals: restore_data of a stream ended by SIGQUIT fails before any byte",
		"signals: backup_data after an interrupted one of the same key",
	}, nil},
	{"writes-in-place", "signals", []string{"signals: restore_data of a stream ended by SIGKILL fails before any byte"}, nil},
	{"holds-stderr", "descriptors", []string{
		"descriptors: setup_plugin_for_backup keeps no pipe open",
		"descriptors: backup_data keeps no pipe open",
	}, []string{"PLUGIN_TEST_PATIENCE=1"}},

	{"subset-sorts-ranges", "subset", []string{"subset: restore_data_subset gives ranges out of order (3 900000 900010 5 20 400000 400100)"}, nil},
	{"subset-off-by-one", "subset", []string{"subset: restore_data_subset gives a few bytes (1 3 10)"}, nil},
	{"subset-drops-last", "subset", []string{"subset: restore_data_subset gives the last byte (1 999999 1000000)"}, nil},
	{"subset-first-only", "subset backup", []string{"subset: restore_data_subset gives two ranges (2 0 700000 900000 900001)", "backup: one table of each segment's stream is restored"}, nil},
	{"subset-small-only", "subset", []string{"subset: restore_data_subset gives the whole (1 0 1000000)"}, nil},
	{"subset-empty-range-fails", "subset", []string{"subset: restore_data_subset gives nothing at all (1 0 0)", "subset: restore_data_subset gives nothing for a table without data (3 0 0 100 120 0 0)"}, nil},
	{"subset-beyond-end-ok", "subset", []string{"subset: restore_data_subset of a range beyond the end fails"}, nil},
	{"subset-accepts-broken-offsets", "subset", []string{"subset: restore_data_subset with a broken offsets file fails before any byte"}, nil},
	{"subset-missing-ok", "subset", []string{"subset: restore_data_subset of a missing key fails before any byte"}, nil},

	{"truncated-gz-accepted", "gzip", []string{"gzip: backup_data of a truncated .gz stream fails", "gzip: restore_data of a truncated .gz stream fails before any byte"}, nil},
	{"trailer-not-needed", "gzip", []string{"gzip: backup_data of a .gz stream without its last byte fails"}, nil},
	{"empty-gz-accepted", "gzip", []string{"gzip: backup_data of a .gz stream of 0 bytes fails"}, nil},
	{"empty-content-gz-fails", "gzip backup", []string{"gzip: a .gz stream comes back with the same content (empty)", "backup: 4 tables of 3 segments are copied out through gzip"}, nil},
	{"one-gz-member-only", "gzip", []string{"gzip: a .gz stream of two members comes back with the same content"}, nil},

	{"delete-fails", "delete", []string{"delete: delete_backup succeeds"}, nil},
	{"delete-not-effective", "delete", []string{
		"delete: delete_backup is felt by restore_data at once",
		"delete: delete_backup is felt by restore_file at once",
		"delete: delete_backup is felt by restore_data_subset at once",
		"delete: delete_backup of the next timestamp works too",
	}, nil},
	{"delete-leaves-files", "delete", []string{"delete: delete_backup is felt by restore_file at once"}, nil},
	{"delete-prefix-deletes-neighbours", "delete", []string{"delete: delete_backup leaves the streams of the next timestamp", "delete: delete_backup leaves the files of the next timestamp"}, nil},
	{"delete-unknown-fails", "delete", []string{"delete: delete_backup of an unknown timestamp is a success", "delete: delete_backup a second time is a success"}, nil},
	{"delete-accepts-anything", "delete", []string{"delete: delete_backup refuses a timestamp of 13 digits", "delete: delete_backup refuses a path for a timestamp"}, nil},
	{"loses-after-delete", "delete", []string{"delete: backup_data into a deleted timestamp is refused or kept, not lost"}, nil},

	{"list-is-empty", "directory", []string{"directory: list_directory names what is stored in a directory"}, nil},
	{"list-is-stale", "directory", []string{"directory: list_directory does not name what was deleted"}, nil},
	{"delete_directory-not-effective", "directory", []string{"directory: delete_directory is felt by restore_data at once"}, nil},
	{"delete_directory-fails", "directory", []string{"directory: delete_directory succeeds", "directory: delete_directory a second time is a success"}, nil},

	{"unknown-command-ok", "unknown", []string{"unknown: an unknown command fails", "unknown: an unknown command with a configuration fails"}, nil},
	{"no-command-ok", "unknown", []string{"unknown: no command at all fails"}, nil},
	{"missing-argument-ok", "unknown", []string{"unknown: backup_data without a key fails", "unknown: setup_plugin_for_backup without a directory fails"}, nil},
	{"refuses-injected-options", "backup", []string{"backup: setup_plugin_for_backup on the coordinator and 3 segments"}, nil},

	{"replicate-fails", "replicate", []string{"replicate: replicate_backup succeeds"}, nil},
	{"replicate-copies-nothing", "replicate", []string{"replicate: the replica gives the stream", "replicate: the replica gives the file"}, nil},
	{"replicate-unknown-ok", "replicate", []string{"replicate: replicate_backup of an unknown timestamp fails", "replicate: replicate_backup of a deleted timestamp fails"}, nil},
	{"replicate-twice-destroys", "replicate", []string{"replicate: replicate_backup a second time leaves the replica as it was"}, nil},
	{"delete_replica-fails", "replicate", []string{"replicate: delete_replica succeeds"}, nil},
	{"delete_replica-not-effective", "replicate", []string{"replicate: delete_replica is felt by restore_data at once", "replicate: delete_replica a second time says 'already deleted'"}, nil},
	{"delete_replica-deletes-backup", "replicate", []string{"replicate: delete_replica leaves the backup"}, nil},

	{"hangs", "versions unknown", []string{
		"versions: --version prints the same without a home directory",
		"unknown: an unknown command fails",
	}, []string{"PLUGIN_TEST_LIMIT=1"}},
	{"stderr-noise", all, []string{
		"streams: restore_data is silent on stderr when it succeeds",
		"streams: setup_plugin_for_backup is silent on stderr when it succeeds",
		"streams: --version is silent on stderr when it succeeds",
	}, nil},
	{"stdout-noise", all, []string{"streams: setup_plugin_for_backup is silent on stdout", "data: restore_data gives text"}, nil},
	{"fails-silently", all, []string{"streams: restore_data says why it fails, in less than 64 KiB"}, nil},
	{"fails-at-length", "data", []string{"streams: restore_data says why it fails, in less than 64 KiB"}, nil},
}
