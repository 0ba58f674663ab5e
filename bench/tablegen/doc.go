// Package tablegen makes table data like that of a data warehouse, as gpbackup's COPY … CSV would print it, and lets it
// age by days. The same seed gives the same bytes on every machine, so that figures can be repeated.
//
//	t := tablegen.New(tablegen.Heap, 1, 1_500_000) // about 230 MB of text
//	t.WriteTo(w)                                   // the first day's backup
//	t.NextDay(tablegen.Daily(tablegen.Heap))       // 1.3 % of the rows are updated, a few come and go
//	t.WriteTo(w)                                   // the second day's
//
// No text is kept: a row is made from the table's seed, its key and the day of its last change, so a table takes eight
// bytes a row in memory, and text comes at several hundred MB/s per core.
//
// # How rows move
//
// COPY prints a heap table in physical order, so what a deduplicating backup sees depends on where an UPDATE puts the new
// version of a row. The model is PostgreSQL's: a table is a row of pages, a page has slots (line pointers). An update
// leaves a dead slot behind and writes the new version
//
//   - into a free slot of the same page, if there is one (a heap-only tuple);
//   - else into the next page that the free space map knows to have room, which is anywhere in the table;
//   - else at the end.
//
// Inserts do the last two. Dead slots become free by the next day, when vacuum has run. A new table starts aged, with
// two or three free slots a page, as if it had lived for a while: with the changes of Daily about half of the updated
// rows stay in their page, the others go to pages elsewhere, and the table grows at its end by what inserts add. An
// update changes a row's status, quantity, amount, note and time of change; customer, e-mail, article and token stay.
//
// An append-only table only grows at its end. Small tables are heap tables of a few rows that rarely change.
package tablegen
