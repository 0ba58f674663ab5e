package report

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
)

//go:embed page.html
var pageText string

//go:embed page.css
var styleText string

//go:embed page.js
var scriptText string

// card is a number that is to be seen first.
type card struct{ Name, Value, Note, Class string }

// pageData is what the template is given.
type pageData struct {
	*Report
	Style  template.CSS
	Script template.JS
	Title  string
	Cards  []card

	Logical, Growth, Added, Retention, Windows, WAL *chart

	Newest      table
	DatabaseRow table
	TableRows   []tableRow
	StreamRow   table
	Ahead       table
	ObjectRows  table
	PruneRows   table
	ArchiveRows table
	CheckParts  []part
}

// tableRow is a row with a bar.
type tableRow struct {
	Cells []string
	Share int // percent of what all that is stored takes
	Text  string
}

// part is a piece of a bar.
type part struct {
	Class, Label, Text string
	X, Width           coordinate
}

// shownBackups is how many backups the page lists.
const shownBackups = 40

// Page writes the report as one page of HTML that needs nothing else.
func (r *Report) Page(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("make page: %w", err)
	}
	d := &pageData{
		Report: r,
		Style:  template.CSS(styleText), //nolint:gosec // of this program
		Script: template.JS(scriptText), //nolint:gosec // of this program
		Title:  "gpdedup: " + r.Repository.Location, Cards: r.cards(),
		Logical: logicalChart(r), Growth: growthChart(r), Added: addedChart(r), Retention: retentionChart(r), Windows: windowsChart(r), WAL: walChart(r),
		Newest: r.newestTable(), DatabaseRow: r.databaseTable().cut(), TableRows: r.tableRows(), StreamRow: r.streamTable(), Ahead: r.aheadTable(),
		ObjectRows: r.objectTable(), PruneRows: r.pruneTable(), ArchiveRows: r.archiveTable().cut(), CheckParts: r.checkParts(),
	}
	d.Retention.Table, d.Windows.Table = d.Retention.Table.cut(), d.Windows.Table.cut()
	if err := t.Execute(w, d); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// cut keeps the first rows of a table: the page is for people.
func (t table) cut() table {
	const most = 200
	if n := len(t.Rows) - most; n > 0 {
		t.Rows, t.More = t.Rows[:most], fmt.Sprintf("%d more are in gpdedup report --json.", n)
	}
	return t
}

// When says when the report was made.
func (r *Report) When() string { return when(r.Generated) }

// About says what the report is about.
func (r *Report) About() string {
	text := "encryption " + r.Repository.Encryption + ", created " + r.Repository.Created.UTC().Format(time.DateOnly)
	if r.Namespace != "" {
		text = "namespace " + r.Namespace + " only; sizes of objects are of all; " + text
	}
	return text
}

func (r *Report) cards() []card {
	t := &r.Totals
	cards := []card{
		{Name: "Stored", Value: inBytes(t.Stored), Note: inBytes(t.WAL) + " of it WAL"},
		{Name: "Can be restored", Value: inBytes(t.Logical), Note: fmt.Sprintf("%s, %s, %s", count(t.Backups, "backup"), count(t.Bases, "base backup"), count(t.Versions, "stream version"))},
		{Name: "Ratio", Value: ratio(float64(t.Logical), float64(t.Added)), Note: "restored, to what it added"},
	}
	last := card{Name: "Newest whole backup", Value: "none", Class: "bad"}
	for i := range r.Backups {
		if b := &r.Backups[i]; b.Status == backups.Complete {
			last = card{Name: last.Name, Value: shortAge(r.Generated.Sub(b.Stored)), Note: seriesOf(b) + ", " + b.Name}
			break
		}
	}
	cards = append(cards, last)
	if len(r.Bases) > 0 {
		recovers := card{Name: "Recovers to", Value: "no base backup", Class: "bad"}
		var furthest time.Time
		for i := range r.Bases {
			if _, to, _ := window(&r.Bases[i]); to.After(furthest) {
				furthest = to
				recovers = card{Name: recovers.Name, Value: shortAge(r.Generated.Sub(to)), Note: when(to) + ", " + r.Bases[i].Namespace}
			}
		}
		cards = append(cards, recovers)
	}
	checked := card{Name: "Verified by checks", Value: percent(float64(r.Check.ReadBytes), float64(r.Check.Bytes)), Note: "never read whole"}
	if r.Check.Last != nil {
		checked.Note = "last read " + age(r.Generated.Sub(*r.Check.Last)) + " ago"
	}
	cards = append(cards, checked)
	if f := r.Forecast; f != nil {
		full := card{Name: "Growth", Value: inBytes(f.PerDay) + " a day", Note: fmt.Sprintf("90%%: %s to %s", inBytes(f.Low), inBytes(f.High))}
		if f.Full != nil {
			full = card{
				Name: "Full in", Value: days(f.Full.Days),
				Note: fmt.Sprintf("of %s; 90%%: %s to %s", inBytes(f.Capacity), days(f.Full.Earliest), days(f.Full.Latest)),
			}
		}
		cards = append(cards, full)
	}
	return cards
}

func days(n *int) string {
	if n == nil {
		return "100 years and more"
	}
	if *n > 3*365 {
		return fmt.Sprintf("%.1f years", float64(*n)/365.25)
	}
	return count(*n, "day")
}

func percent(part, whole float64) string {
	if whole <= 0 {
		return "–"
	}
	p := 100 * part / whole
	if p > 99 && p < 100 {
		p = 99 // not all is not all
	}
	return fmt.Sprintf("%.0f%%", p)
}

func (r *Report) newestTable() table {
	t := table{Head: []string{"Backup", "What", "Stored", "Status", "Streams", "Restored", "Added", "Ratio"}}
	for i := range r.Backups {
		if i == shownBackups {
			t.More = fmt.Sprintf("%d older ones are in gpdedup report --json.", len(r.Backups)-i)
			break
		}
		b := &r.Backups[i]
		t.Rows = append(t.Rows, []string{
			b.Name, seriesOf(b), when(b.Stored), b.Status.String(), strconv.Itoa(b.Streams), inBytes(b.Logical), inBytes(b.Added),
			ratio(float64(b.Logical), float64(b.Added)),
		})
	}
	return t
}

func (r *Report) databaseTable() table {
	t := table{Head: []string{"Database", "Namespace", "Backups", "Complete", "Newest complete", "Its size", "Restored", "Added", "Ratio"}}
	for i := range r.Databases {
		d := &r.Databases[i]
		name := d.Database
		if name == "" {
			name = "(unknown)"
		}
		t.Rows = append(t.Rows, []string{
			name, d.Namespace, strconv.Itoa(d.Backups), strconv.Itoa(d.Complete), when(d.Last), inBytes(d.LastSize), inBytes(d.Logical), inBytes(d.Added),
			ratio(float64(d.Logical), float64(d.Added)),
		})
	}
	return t
}

func (r *Report) tableRows() []tableRow {
	var out []tableRow
	for i := range r.Tables {
		t := &r.Tables[i]
		name := t.Table
		switch t.Kind {
		case allData:
			name = "(all tables: --single-data-file)"
		case ownFiles:
			name = "(gpbackup's own files)"
		}
		share := 0.0
		if r.Totals.Added > 0 {
			share = 100 * float64(t.Added) / float64(r.Totals.Added)
		}
		database := t.Database
		if t.Namespace != "default" {
			database = t.Namespace + "/" + database
		}
		out = append(out, tableRow{
			Cells: []string{name, database, strconv.Itoa(t.Backups), inBytes(t.LastSize), inBytes(t.Logical), inBytes(t.Added), inBytes(t.LastAdded), ratio(float64(t.Logical), float64(t.Added))},
			Share: int(math.Round(min(share, 100))), Text: fmt.Sprintf("%.1f%%", share),
		})
	}
	return out
}

// MoreTables says how many tables are not listed.
func (r *Report) MoreTables() string {
	if n := r.TableCount - len(r.Tables); n > 0 {
		return fmt.Sprintf("%d more that take less; gpdedup report --top %d lists them.", n, r.TableCount)
	}
	return ""
}

func (r *Report) streamTable() table {
	t := table{Head: []string{"Stream", "Namespace", "Versions", "Newest", "Its size", "Restored", "Added", "Ratio"}}
	for i := range r.Streams {
		n := &r.Streams[i]
		t.Rows = append(t.Rows, []string{
			n.Name, n.Namespace, strconv.Itoa(n.Versions), when(n.Last), inBytes(n.LastSize), inBytes(n.Logical), inBytes(n.Added), ratio(float64(n.Logical), float64(n.Added)),
		})
	}
	if n := r.NamedCount - len(r.Streams); n > 0 {
		t.More = fmt.Sprintf("%d more that take less.", n)
	}
	return t
}

func (r *Report) aheadTable() table {
	t := table{Head: []string{"On", "After", "Expected", "Range (90%)"}}
	if r.Forecast == nil {
		return t
	}
	for _, p := range r.Forecast.Points {
		t.Rows = append(t.Rows, []string{p.Date, count(p.After, "day"), inBytes(p.Bytes), inBytes(p.Low) + " to " + inBytes(p.High)})
	}
	return t
}

func (r *Report) objectTable() table {
	t := table{Head: []string{"Objects", "Count", "Size"}}
	for _, o := range r.Objects {
		t.Rows = append(t.Rows, []string{o.Kind, strconv.FormatInt(o.Count, 10), inBytes(o.Bytes)})
	}
	return t
}

func (r *Report) pruneTable() table {
	p := &r.Prune
	t := table{Head: []string{"Space", "Size"}, Rows: [][]string{
		{fmt.Sprintf("in %s, which a prune removes after their grace", count(p.Condemned, "condemned pack")), inBytes(p.Bytes)},
		{fmt.Sprintf("added by %s; at most that much", count(p.DeletedRoots, "deleted backup")), inBytes(p.AtMost)},
	}}
	if s := p.Survey; s != nil {
		t.Rows = append(t.Rows,
			[]string{"that prunes would free, deleted backups left out that wait for their grace", inBytes(s.Free)},
			[]string{"of no use in packs that would stay", inBytes(s.Unused)})
	} else {
		t.More = "gpdedup report --prune finds out how much a prune would free."
	}
	return t
}

func (r *Report) archiveTable() table {
	t := table{Head: []string{"Archive", "Content", "Segments", "Stored", "Gaps"}}
	for i := range r.Archives {
		a := &r.Archives[i]
		t.Rows = append(t.Rows, []string{a.Namespace, a.Content, strconv.Itoa(a.Segments), inBytes(a.Stored), strconv.Itoa(a.Gaps)})
	}
	return t
}

// checkParts is a bar of what was read how long ago.
func (r *Report) checkParts() []part {
	const wide = 1000
	var out []part
	at := 0.0
	for i, a := range r.Check.Ages {
		share := 0.0
		if r.Check.Bytes > 0 {
			share = float64(a.Bytes) / float64(r.Check.Bytes)
		}
		out = append(out, part{
			Class: "c" + strconv.Itoa(i+1), Label: a.Label, Text: strings.TrimSpace(inBytes(a.Bytes) + " " + percent(float64(a.Bytes), float64(r.Check.Bytes))),
			X: coordinate(at * wide), Width: coordinate(share * wide),
		})
		at += share
	}
	return out
}
