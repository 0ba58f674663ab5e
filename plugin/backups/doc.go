// Package backups knows what a gpbackup timestamp is: which streams it needs to
// be whole, and how they lie in gpbackup's own directories.
//
// What flows in: the streams that the plugin stored under a timestamp, and two of
// the files among them that say what there should be, config.yaml and toc.yaml.
// Reading those, [List] and [Show] tell what is there, [Verify] reads every byte
// again, and [Export] writes a directory that gprestore restores without the
// plugin.
//
// What never happens: a timestamp counts as complete because its streams ended
// well. The end of a stream proves nothing, since gpbackup's helpers end cleanly
// when they are killed; only "status: Success" together with every stream that
// the tables of contents ask for does.
//
// A timestamp is 14 digits and nothing more: it is never read as a date.
package backups
