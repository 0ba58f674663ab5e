// Command demo shows what gpdedup saves: it plays gpbackup for a few days.
//
//	demo [--size 200MB] [--days 3] [--compress gzip] [--keep] [GPDEDUP]
//
// It makes a repository with a key in a temporary directory and lets package tablegen invent a database: two segments with
// heap tables, append-only tables and many small ones. Each day it calls the plugin as gpbackup does (hooks for the
// coordinator and every segment, backup_data behind a shell for each table and segment, several at once, then the
// coordinator's files, config.yaml with "status: Success" last but one), and then a day passes for the tables. In the end
// it restores the last day into another directory layout as gprestore does, compares every byte, and has the repository
// checked.
//
// It prints a table: what each day's backup would be as plain text, by how much the repository has grown (in blocks of
// the file system, as du counts), and how long it took, hooks and files included. Tables are made before the clock runs.
// Progress goes to stderr. If zstd is installed, zstd -1 of the same streams is measured for comparison.
package main
