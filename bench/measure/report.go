//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gpdedup/gpdedup/bench/internal/contender"
	"github.com/gpdedup/gpdedup/bench/internal/results"
	"github.com/gpdedup/gpdedup/bench/internal/section"
	"github.com/gpdedup/gpdedup/bench/internal/size"
)

// part is a section of the document: the text of a topic. What its topic has no results of stays as it is.
type part struct {
	name  string // of the section, and of the topic
	write func(t *results.Topic, r *results.Results) string
}

// documentParts are the sections, in the order in which they are printed. Those of WAL are written by bench/wal.
var documentParts = []part{
	{"goals", nil},
	{"table", tableText},
	{"append", phasesText("![Throughput of each program with other workloads](plots/workloads.svg)\n\nA table of events, half as long, that grows by 2 % at its end; the day after; and that day restored.", first, next, restored)},
	{"noise", phasesText("Random bytes, half as many, twice, and restored: what is left when neither compression nor similarity helps.", first, unchanged, restored)},
	{"large", phasesText("Table text in which no table repeats.", first, unchanged, restored)},
	{"small", smallText},
	{"days", daysText},
	{"profile", func(t *results.Topic, _ *results.Results) string { return profileText(t) }},
	{"wal", walText},
	{"memory", memoryText},
	{"s3", bucketText},
}

// sections are the names of all.
func sections() (names []string) {
	for _, p := range documentParts {
		names = append(names, "bench "+p.name)
	}
	return names
}

func plotsBeside(document string) string { return filepath.Join(filepath.Dir(document), "plots") }

// publish writes the text of everything that there are results of, and draws the plots.
func publish(set settings, r *results.Results) error {
	if err := draw(set.plots, r); err != nil {
		return err
	}
	for _, p := range documentParts {
		text := ""
		switch t := r.Topics[p.name]; {
		case p.name == "goals":
			text = goalsText(r)
		case t != nil:
			text = p.write(t, r) + "\n" + footer(t)
		}
		if text == "" {
			continue
		}
		if set.update == "" {
			fmt.Printf("## %s\n\n%s\n", p.name, text)
			continue
		}
		if err := section.Replace(set.update, "bench "+p.name, text); err != nil {
			return err
		}
	}
	return nil
}

// footer says what the figures were taken with.
func footer(t *results.Topic) string {
	text := t.Taken.String()
	if len(t.Programs) > 0 {
		text += " gpdedup " + t.Programs[0].Version + "."
	}
	text += fmt.Sprintf(" Rounds: %d.", t.Rounds)
	for _, note := range t.Notes {
		text += "\n" + strings.TrimSuffix(note, ".") + "."
	}
	return text + "\n"
}

// markdownTable writes a table; all columns but the first are figures.
func markdownTable(head []string, rows [][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("---:|", len(head)-1))
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	return b.String()
}

// column is a figure of a phase.
type column struct {
	title, phase string
}

func columns(phases ...string) (out []column) {
	for _, p := range phases {
		out = append(out, column{p, p})
	}
	return out
}

// matrix is a table with a row a program and a column a phase, and last what gpdedup's figure is of the best peer's.
func matrix(t *results.Topic, what string, cols []column, figure results.Figure, format string, greatest bool, tools ...string) string {
	head := []string{what}
	for _, c := range cols {
		head = append(head, c.title)
	}
	names := tools
	for i := len(t.Programs) - 1; i >= 0; i-- {
		names = append([]string{t.Programs[i].Name}, names...)
	}
	var rows [][]string
	for _, name := range names {
		row, some := []string{name}, false
		for _, c := range cols {
			cell := figure(t.Find(name, c.phase)).Format(format)
			some = some || cell != "–"
			row = append(row, cell)
		}
		if some {
			rows = append(rows, row)
		}
	}
	last, some := []string{"gpdedup, of the best peer"}, false
	for _, c := range cols {
		cell := "–"
		if best := t.Best(c.phase, figure, greatest); best != "" {
			ours, theirs := figure(t.Find(contender.Gpdedup, c.phase)), figure(t.Find(best, c.phase))
			if len(ours) > 0 {
				cell, some = ours.Over(theirs).FormatAs(ours.Median()/theirs.Median(), "%.2f")+" × "+best, true
			}
		}
		last = append(last, cell)
	}
	if some {
		rows = append(rows, last)
	}
	return markdownTable(head, rows)
}

// lengthOf is what went in.
func lengthOf(t *results.Topic, phase string) string {
	if r := t.Find(contender.Gpdedup, phase); r != nil {
		return size.Format(r.Bytes)
	}
	return "–"
}

func tableText(t *results.Topic, _ *results.Results) string {
	var b strings.Builder
	var programs [][]string
	for _, p := range t.Programs {
		programs = append(programs, []string{p.Name + " " + p.Version, p.Settings})
	}
	b.WriteString("| program | how it is set |\n|---|---|\n")
	for _, p := range programs {
		fmt.Fprintf(&b, "| %s | %s |\n", p[0], p[1])
	}
	fmt.Fprintf(&b, "\nA table of %s of text, through a pipe: stored for the first time; the same again; read back through a pipe; and as it is\n"+
		"a day later, with 1.3 %% of its rows updated all over.\n\n", lengthOf(t, first))
	b.WriteString("![Throughput of each program, by phase](plots/throughput.svg)\n\n")
	phases := columns(first, unchanged, next, restored)
	tools := []string{zstdName, unzstdName, cpName, blake3Name}
	b.WriteString(matrix(t, "MB/s of text", phases, results.Rate, "%.0f", true, tools...))
	b.WriteString("\n![Processor time of each program, by phase](plots/cpu.svg)\n\n")
	b.WriteString(matrix(t, "processor seconds for a GB", phases, results.CPUPerGB, "%.2f", false, tools...))
	b.WriteString("\n![Peak memory of each program, by phase](plots/memory.svg)\n\n")
	b.WriteString(matrix(t, "peak resident memory, MiB", phases, results.Peak, "%.0f", false))
	b.WriteString("\n")
	b.WriteString(storedTable(t, first, next))
	fmt.Fprintf(&b, "\nOf the tools, `zstd -1` and `zstd -d` use as many threads as there are cores, where they can; neither they nor `cp` sync anything;\n"+
		"BLAKE3 is one thread that does nothing but name what comes through the same pipe.\n")
	return b.String()
}

// storedTable says what a repository takes after the first day, and what the next one adds.
func storedTable(t *results.Topic, day, after string) string {
	var rows [][]string
	for _, name := range programNames(t, zstdName) {
		r := t.Find(name, day)
		if r == nil || len(r.Stored) == 0 {
			continue
		}
		row := []string{name, results.Stored(r).Format("%.1f"), fmt.Sprintf("%.1f %%", 100*r.Stored.Median()/float64(r.Bytes)), "–", "–"}
		if n, u := t.Find(name, after), t.Find(name, unchanged); n != nil && len(n.Stored) > 0 {
			from := r
			if u != nil && len(u.Stored) > 0 {
				from = u // it lies in between, and adds a list of chunks
			}
			added := n.Stored.Median() - from.Stored.Median()
			row[3], row[4] = fmt.Sprintf("%.1f", added/size.Mega), fmt.Sprintf("%.1f %%", 100*added/r.Stored.Median())
		}
		rows = append(rows, row)
	}
	return markdownTable([]string{"stored", "first, MB", "of the text", "the next day adds, MB", "of the first"}, rows)
}

func programNames(t *results.Topic, more ...string) (names []string) {
	for _, p := range t.Programs {
		names = append(names, p.Name)
	}
	return append(names, more...)
}

// phasesText is the section of a workload that has nothing special.
func phasesText(what string, phases ...string) func(*results.Topic, *results.Results) string {
	return func(t *results.Topic, _ *results.Results) string {
		var b strings.Builder
		fmt.Fprintf(&b, "%s It has %s.\n\n", what, lengthOf(t, first))
		b.WriteString(matrix(t, "MB/s", columns(phases...), results.Rate, "%.0f", true))
		b.WriteString("\n")
		b.WriteString(matrix(t, "processor seconds for a GB", columns(phases...), results.CPUPerGB, "%.2f", false))
		b.WriteString("\n")
		b.WriteString(matrix(t, "peak resident memory, MiB", columns(phases...), results.Peak, "%.0f", false))
		b.WriteString("\n")
		b.WriteString(storedTable(t, first, next))
		return b.String()
	}
}

func smallText(t *results.Topic, _ *results.Results) string {
	n := 0
	if r := t.Find(contender.Gpdedup, storing); r != nil {
		n = r.Streams
	}
	var rows [][]string
	shell := [2]*results.Run{t.Find(shellName, storing), t.Find(shellName, reading)}
	for _, name := range append([]string{contender.Gpdedup, shellName}, programNames(t)[1:]...) {
		row := []string{name}
		for i, phase := range []string{storing, reading} {
			r := t.Find(name, phase)
			time := results.StreamTime(r)
			ratio := time.Median() / results.StreamTime(shell[i]).Median()
			row = append(row, time.Format("%.1f"), fmt.Sprintf("%.2f", ratio))
			if i == 0 {
				row = append(row, r.CPU.Map(func(s float64) float64 { return s * 1000 / float64(max(1, r.Streams)) }).Format("%.1f"))
			}
		}
		rows = append(rows, row)
	}
	return fmt.Sprintf("%d tables of 10 KB, each by a process of its own, one after the other: gpdedup by backup_data as gpbackup calls it, into a\n"+
		"repository that holds a backup already; a shell, with the same durability, by `cat >t; sync t; ln t f; sync .`, and `cat f` to read.\n"+
		"The peers get %d tables, into a repository without others.\n\n![Milliseconds for a table of 10 KB](plots/small.svg)\n\n", n, peerTables) +
		markdownTable([]string{"ms for a table", "store", "of a shell", "processor time", "restore", "of a shell"}, rows)
}

func daysText(t *results.Topic, _ *results.Results) string {
	days := 0
	if r := t.Find(contender.Gpdedup, aDay); r != nil {
		days = len(r.Stored)
	}
	var rows [][]string
	for _, name := range programNames(t, zstdName) {
		r := t.Find(name, aDay)
		if r == nil || len(r.Stored) == 0 {
			continue
		}
		one, all := r.Stored[0], r.Stored[len(r.Stored)-1]
		rows = append(rows, []string{
			name, fmt.Sprintf("%.1f", one/size.Mega), fmt.Sprintf("%.1f", all/size.Mega), fmt.Sprintf("%.2f ×", all/one),
			results.Wall(t.Find(name, checkData)).Format("%.2f"), results.CPU(t.Find(name, checkData)).Format("%.2f"),
			results.Anon(t.Find(name, checkData)).Format("%.0f"), results.Wall(t.Find(name, checkOnly)).Format("%.2f"),
		})
	}
	commands := ""
	for _, p := range t.Programs {
		quick, data := contender.CheckCommands(p.Name)
		commands += fmt.Sprintf(" `%s` and `%s`;", data, quick)
	}
	return fmt.Sprintf("A table of %s, stored in full on each of %d days, of which each changes 1.3 %% of the rows all over; `zstd -1` keeps every day\n"+
		"by itself. Then each program looks for damage, from the page cache:%s\n\n![What the repositories take, day by day](plots/growth.svg)\n\n",
		lengthOf(t, aDay), days, strings.TrimSuffix(commands, ";")+".") +
		markdownTable([]string{"", "one day, MB", fmt.Sprintf("%d days, MB", days), "of one", "check of every byte, s", "processor time, s", "peak, MiB", "check without data, s"}, rows)
}

// walText shows the plot; the tables are written by bench/wal.
func walText(*results.Topic, *results.Results) string {
	return "![Segments a second: gpdedup, pgBackRest, cp](plots/wal.svg)\n"
}

func memoryText(t *results.Topic, _ *results.Results) string {
	var rows [][]string
	for _, r := range t.Runs {
		what := map[string]string{first: "stored", unchanged: "the same again", restored: "restored"}[r.Phase]
		rows = append(rows, []string{r.Program + ", " + what, results.Anon(r).Format("%.0f"), results.Peak(r).Format("%.0f"), results.Rate(r).Format("%.0f")})
	}
	return "Peaks of anonymous memory (RssAnon) and of all resident memory, which counts the mapped pages of the program and of the index,\n" +
		"that the kernel takes back when it needs them. A stream is generated as it is stored: its speed is bounded by that.\n\n" +
		markdownTable([]string{"", "anonymous, MiB", "resident, MiB", "MB/s"}, rows)
}

func bucketText(t *results.Topic, _ *results.Results) string {
	var rows [][]string
	row := func(what, phase string, figure results.Figure, format string) {
		bucket, directory := figure(t.Find(bucketName, phase)), figure(t.Find(directoryName, phase))
		if len(bucket) == 0 || len(directory) == 0 {
			return
		}
		rows = append(rows, []string{
			what, bucket.Format(format), directory.Format(format),
			bucket.Over(directory).FormatAs(bucket.Median()/directory.Median(), "%.2f"),
		})
	}
	for _, phase := range []string{first, unchanged, restored} {
		row(phase+", s", phase, results.Wall, "%.2f")
		row("… processor time of gpdedup, s", phase, results.CPU, "%.2f")
		row("… anonymous memory, MiB", phase, results.Anon, "%.0f")
	}
	for _, phase := range []string{manyStored, manyRead} {
		row(phase+", s", phase, results.Wall, "%.2f")
		row("… processor time of gpdedup, s", phase, results.CPU, "%.2f")
	}
	length, streams := "–", 0
	if r := t.Find(bucketName, first); r != nil {
		length = size.Format(r.Bytes)
	}
	if r := t.Find(bucketName, manyStored); r != nil {
		streams = r.Streams
	}
	return fmt.Sprintf("versitygw on this machine and in the same file system, next to a directory: %s of table text by backup_data, the same again,\n"+
		"and restored; and %d streams of 1 KB, each by a process of its own, %d at a time. The server takes its part of the processors, and\n"+
		"there is no network between: this shows what a bucket costs beside bandwidth.\n\n", length, streams, smallAtOnce) +
		markdownTable([]string{"", "bucket", "directory", "ratio"}, rows)
}
