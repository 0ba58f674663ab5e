// Command reference is the smallest gpbackup storage plugin that keeps the whole contract: plain files in a plain
// directory, one per stream. It exists to test plugin_test.sh, not to keep backups.
//
// Its configuration is gpbackup's, with one option needed, and another if replicate_backup is wanted:
//
//	executablepath: /path/of/reference
//	options:
//	  repository: /where/streams/go
//	  replica: /where/copies/go
//
// A stream is <repository>/<timestamp>/<base name of the key>; it is written under a temporary name and linked into place,
// so it is there whole or not at all, and never replaced.
//
// The environment variable BROKEN names one defect, and then the plugin has it: plugin_test.sh must notice. The defects
// are where the word broken( is, each beside the correct line.
package main
