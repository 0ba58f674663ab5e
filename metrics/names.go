package metrics

// Kind is what Prometheus calls the type of a metric.
type Kind string

// The kinds.
const (
	Counter Kind = "counter" // only grows; one that is named …_total
	Gauge   Kind = "gauge"   // as of the last run
)

// Metric says what a name means. Every sample has the labels command, namespace and
// repository, and those that are listed here.
type Metric struct {
	Name   string
	Kind   Kind
	Labels []string
	Help   string
}

// ID names a metric.
type ID int

// The metrics of every command.
const (
	Runs ID = iota
	LastRun
	LastSuccess
	LastExitCode
	LastDuration
	RunSeconds
	Retries

	StreamsStored
	ReadBytes
	NewBytes
	DeduplicatedBytes
	StoredBytes
	Chunks
	NewChunks
	DeltaChunks
	StreamsRestored
	RestoredBytes

	GpbackupSuccess
	Forgotten
	Kept
	VerifyProblems
	CopyProblems

	PruneFreed
	PruneRemovedPacks
	PruneWaiting
	PruneUnused
	PruneKept
	PruneLost
	PruneIncomplete

	CheckDamaged
	CheckRead
	CheckPacks
	CheckNeverRead
	CheckOldestRead
	RepairDamaged

	WALPushed
	WALLastPushed
	WALLastPosition
	WALLastTimeline
	WALReady
	WALFetched
	WALProblems

	BaseLast
	BaseBytes

	RepositoryStored
	RepositoryLogical
	RepositoryAdded
	RepositoryGrowth
	RepositoryFull
	RepositoryVerified
	RepositoryPacks
	DatabaseLast
	RecoverableUntil

	metricCount // how many there are
)

// All returns every metric, by ID.
func All() []Metric {
	all := definitions()
	return all[:]
}

func definitions() [metricCount]Metric {
	return [metricCount]Metric{
		Runs:         {"gpdedup_runs_total", Counter, []string{"code"}, "Runs that have ended, by exit code; 128 and the number of the signal that ended one."},
		LastRun:      {"gpdedup_last_run_timestamp_seconds", Gauge, nil, "When a run ended last."},
		LastSuccess:  {"gpdedup_last_success_timestamp_seconds", Gauge, nil, "When a run ended last with exit code 0."},
		LastExitCode: {"gpdedup_last_exit_code", Gauge, nil, "Exit code of the run that ended last."},
		LastDuration: {"gpdedup_last_duration_seconds", Gauge, nil, "How long the run took that ended last."},
		RunSeconds:   {"gpdedup_run_seconds_total", Counter, nil, "How long all runs took."},
		Retries:      {"gpdedup_retries_total", Counter, nil, "Operations of the storage that failed and were tried again."},

		StreamsStored:     {"gpdedup_streams_stored_total", Counter, nil, "Streams stored."},
		ReadBytes:         {"gpdedup_read_bytes_total", Counter, nil, "Bytes of the streams stored, without the compression that was taken off."},
		NewBytes:          {"gpdedup_new_bytes_total", Counter, nil, "Of these, what the repository did not hold."},
		DeduplicatedBytes: {"gpdedup_deduplicated_bytes_total", Counter, nil, "Of these, what it held already."},
		StoredBytes:       {"gpdedup_stored_bytes_total", Counter, nil, "Bytes written to the repository for them, metadata included."},
		Chunks:            {"gpdedup_chunks_total", Counter, nil, "Chunks of the streams stored."},
		NewChunks:         {"gpdedup_new_chunks_total", Counter, nil, "Of these, what the repository did not hold."},
		DeltaChunks:       {"gpdedup_delta_chunks_total", Counter, nil, "Of the new ones, those stored as differences to similar ones."},
		StreamsRestored:   {"gpdedup_streams_restored_total", Counter, nil, "Streams read back, or verified."},
		RestoredBytes:     {"gpdedup_restored_bytes_total", Counter, nil, "Bytes of these."},

		GpbackupSuccess: {"gpdedup_gpbackup_last_success_timestamp_seconds", Gauge, []string{"database"}, "When a config.yaml with status Success was stored last: gpbackup's own verdict."},
		Forgotten:       {"gpdedup_forgotten_total", Counter, nil, "Backups or versions deleted by forget."},
		Kept:            {"gpdedup_forget_kept", Gauge, nil, "Backups or versions that forget kept last."},
		VerifyProblems:  {"gpdedup_verify_problems", Gauge, nil, "Problems that the last verify found."},
		CopyProblems:    {"gpdedup_copy_problems", Gauge, nil, "What the last copy left out."},

		PruneFreed:        {"gpdedup_prune_freed_bytes_total", Counter, nil, "Bytes of the packs that prunes removed."},
		PruneRemovedPacks: {"gpdedup_prune_removed_packs_total", Counter, nil, "Packs that prunes removed."},
		PruneWaiting:      {"gpdedup_prune_waiting_bytes", Gauge, nil, "Bytes of condemned packs that wait for the grace to pass."},
		PruneUnused:       {"gpdedup_prune_unused_bytes", Gauge, nil, "Bytes of no use in packs that stay."},
		PruneKept:         {"gpdedup_prune_kept_bytes", Gauge, nil, "Bytes of the packs that stay."},
		PruneLost:         {"gpdedup_prune_lost_chunks", Gauge, nil, "Chunks that are needed and of which no copy is left."},
		PruneIncomplete:   {"gpdedup_prune_incomplete_backups", Gauge, nil, "Backups of gpbackup that were never completed; those that run are among them."},

		CheckDamaged:    {"gpdedup_check_damaged_objects", Gauge, nil, "Damaged objects that the last check found."},
		CheckRead:       {"gpdedup_check_read_bytes_total", Counter, nil, "Bytes that checks have read."},
		CheckPacks:      {"gpdedup_check_packs", Gauge, nil, "Packs that there were at the last check."},
		CheckNeverRead:  {"gpdedup_check_never_read_packs", Gauge, nil, "Of these, those that no check has read whole."},
		CheckOldestRead: {"gpdedup_check_oldest_read_timestamp_seconds", Gauge, nil, "When that pack was last read whole that was read longest ago."},
		RepairDamaged:   {"gpdedup_repair_damaged_streams", Gauge, nil, "Streams that the last repair left damaged."},

		WALPushed:       {"gpdedup_wal_pushed_files_total", Counter, []string{"content"}, "WAL files that wal push was called for and that are archived."},
		WALLastPushed:   {"gpdedup_wal_last_pushed_timestamp_seconds", Gauge, []string{"content"}, "When wal push last succeeded."},
		WALLastPosition: {"gpdedup_wal_last_pushed_position_bytes", Gauge, []string{"content"}, "Address at which the segment begins that was archived last, as a number."},
		WALLastTimeline: {"gpdedup_wal_last_pushed_timeline", Gauge, []string{"content"}, "Timeline of the segment that was archived last."},
		WALReady:        {"gpdedup_wal_ready_files", Gauge, []string{"content"}, "Files that the server has marked as ready to be archived, after the last push: the backlog. No more than 4096 are counted."},
		WALFetched:      {"gpdedup_wal_fetched_files_total", Counter, []string{"content"}, "WAL files that wal fetch delivered."},
		WALProblems:     {"gpdedup_wal_verify_lost", Gauge, []string{"content"}, "What wal verify last found that will stop a recovery."},

		BaseLast:  {"gpdedup_base_last_backup_timestamp_seconds", Gauge, []string{"content"}, "When base push last stored a base backup."},
		BaseBytes: {"gpdedup_base_last_backup_bytes", Gauge, []string{"content"}, "Size of that."},

		RepositoryStored:   {"gpdedup_repository_stored_bytes", Gauge, nil, "Bytes of all objects, at the last report."},
		RepositoryLogical:  {"gpdedup_repository_logical_bytes", Gauge, nil, "What restoring everything gives that is not deleted, WAL left out."},
		RepositoryAdded:    {"gpdedup_repository_added_bytes", Gauge, nil, "What that added to the repository when it came."},
		RepositoryGrowth:   {"gpdedup_repository_growth_bytes_per_day", Gauge, nil, "What a day adds, as the report's forecast has it."},
		RepositoryFull:     {"gpdedup_repository_full_days", Gauge, nil, "Days until the capacity that the report was given is reached; absent if it never is."},
		RepositoryVerified: {"gpdedup_repository_verified_bytes", Gauge, nil, "Bytes of the packs that any check has read whole."},
		RepositoryPacks:    {"gpdedup_repository_pack_bytes", Gauge, nil, "Bytes of all packs."},
		DatabaseLast:       {"gpdedup_database_last_complete_timestamp_seconds", Gauge, []string{"namespace", "database"}, "When the newest complete backup of a database was stored, at the last report."},
		RecoverableUntil:   {"gpdedup_recoverable_until_timestamp_seconds", Gauge, []string{"namespace", "content"}, "To which moment a cluster can be recovered from base backup and WAL, at the last report."},
	}
}
