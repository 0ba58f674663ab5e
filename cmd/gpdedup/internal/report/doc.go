// Package report says what a repository holds, what each backup added, how far it can be
// recovered, what of it was checked, and how it will grow; as JSON and as one page of HTML.
//
// What flows in: one listing of the repository, the heads of its manifests, the tables of
// contents of its backups and the surveys of its WAL archives. [Collect] adds them up to a
// [Report], whose size grows with backups and days, not with streams. [Report.Page] draws it.
//
// What never happens: nothing is written to the repository; the page asks nobody for
// anything, and what stands in a repository, such as names of tables, stays text in it.
//
// A repository keeps no history of itself. Everything that is shown over time is of what is
// there today, by when it was put.
package report
