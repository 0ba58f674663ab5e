// Package plugin is gpbackup's storage plugin: the contract between gpbackup and a
// repository.
//
// What flows in: gpbackup starts one process per call, with the path of its YAML
// file ([LoadConfig]) and the path of a file that it would write or read. From the
// path only the timestamp and the base name count ([StreamName]); backup_data
// stores standard input under that name, restore_data writes it out again.
//
// What flows out: bytes on standard output, and nothing on standard error unless
// the call fails. Whatever else there is to say goes to a log file.
//
// What never happens: a stream that was ended by a signal, by a parent that is
// gone, or in the middle of a compressed file is not stored; no process is left
// behind that holds a pipe of the caller's; nothing is written into the working
// directory, which is a database's.
package plugin
