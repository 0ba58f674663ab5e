package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpdedup/gpdedup/plugin/backups"
	"github.com/gpdedup/gpdedup/repo"
	"github.com/gpdedup/gpdedup/storage"
)

// page returns the page of a report, after it was read as XML: nothing in it is open.
func (w *world) page(r *Report) string {
	w.Helper()
	var out bytes.Buffer
	w.must(r.Page(&out))
	dec := xml.NewDecoder(bytes.NewReader(out.Bytes()))
	ids := make(map[string]bool)
	var inSVG int
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.Fatalf("the page is not well-formed: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			if x.Name.Local == "svg" {
				inSVG++
			}
			for _, a := range x.Attr {
				if a.Name.Local == "id" && ids[a.Value] {
					w.Errorf("two elements have the id %s", a.Value)
				}
				if a.Name.Local == "id" {
					ids[a.Value] = true
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || strings.Contains(a.Value, "ZgotmplZ") {
					w.Errorf("<%s %s=%q>", x.Name.Local, a.Name.Local, a.Value)
				}
				switch a.Name.Local {
				case "src", "href", "srcset", "action":
					w.Errorf("<%s> asks for %s", x.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
		default:
		}
	}
	for _, id := range []string{"logical-title", "logical-desc", "check-title"} {
		if inSVG > 1 && len(r.Backups) > 0 && r.Check.Packs > 0 && !ids[id] {
			w.Errorf("no element has the id %s", id)
		}
	}
	if strings.Contains(out.String(), "url(") || strings.Contains(out.String(), "@import") {
		w.Error("the style asks for something")
	}
	return out.String()
}

// TestNumbers: what is reported is what repo stats and backup list say.
func TestNumbers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sales, billing := newDatabase("default", "sales", 1500), newDatabase("prod2", "billing", 400)
		w.live(12, sales, billing)
		deleted := w.backup(sales, "Success")
		time.Sleep(time.Minute)
		w.delete("default", deleted)
		failed := w.backup(sales, "Failure")
		time.Sleep(time.Minute)
		incomplete := w.backup(sales, "Success", "_metadata.sql")
		time.Sleep(time.Minute)
		running := w.backup(billing, "Success", "_config.yaml")
		r := w.collect(Options{Capacity: 1 << 30})
		page := w.page(r)

		stats, err := w.r.Stats(t.Context(), repo.StatsOptions{})
		w.must(err)
		if r.Totals.Stored != stats.Stored || !slices.Equal(r.Objects, stats.Objects) {
			t.Errorf("objects %v of %d bytes, stats says %v, %d", r.Objects, r.Totals.Stored, stats.Objects, stats.Stored)
		}
		type numbers struct {
			logical, added uint64
			streams        int
			deleted        bool
			stored         time.Time
		}
		want, got := map[string]numbers{}, map[string]numbers{}
		var logical, added uint64
		for _, s := range stats.Roots {
			name := s.Group
			if s.Item != "" {
				name = repo.Name{Class: s.Class, Group: s.Group, Item: s.Item}.String()
			}
			want[s.Namespace+" "+name] = numbers{s.Logical, s.Stored, s.Streams, s.Deleted, s.Time.UTC()}
			if !s.Deleted {
				logical, added = logical+s.Logical, added+s.Stored
			}
		}
		status := make(map[string]backups.Status)
		for _, b := range r.Backups {
			got[b.Namespace+" "+b.Name] = numbers{b.Logical, b.Added, b.Streams, b.Status == backups.Deleted, b.Stored}
			status[b.Name] = b.Status
		}
		if len(want) != len(got) {
			t.Errorf("%d backups, stats says %d", len(got), len(want))
		}
		for name, n := range want {
			if got[name] != n {
				t.Errorf("%s: %+v, stats says %+v", name, got[name], n)
			}
		}
		if r.Totals.Logical != logical || r.Totals.Added != added {
			t.Errorf("%d bytes of backups that added %d, stats says %d, %d", r.Totals.Logical, r.Totals.Added, logical, added)
		}
		for _, ns := range []string{"default", "prod2"} {
			list, err := backups.List(t.Context(), w.r, ns, backups.ListOptions{Deleted: true, Sizes: true})
			w.must(err)
			for _, s := range list {
				if status[s.Timestamp] != s.Status {
					t.Errorf("%s is %s, backup list says %s", s.Timestamp, status[s.Timestamp], s.Status)
				}
			}
		}
		for ts, s := range map[string]backups.Status{deleted: backups.Deleted, failed: backups.Failed, incomplete: backups.Incomplete, running: backups.Incomplete} {
			if status[ts] != s {
				t.Errorf("%s is %s, want %s", ts, status[ts], s)
			}
		}
		sum(t, r)
		last := r.Days[len(r.Days)-1]
		if last.Stored != stats.Stored || last.Logical != logical {
			t.Errorf("the last day has %d bytes of %d", last.Stored, last.Logical)
		}
		if len(r.Archives) != 1 || r.Archives[0].Segments == 0 || len(r.Bases) != 2 || r.Bases[0].Problem != "" {
			t.Errorf("archives %+v, base backups %+v", r.Archives, r.Bases)
		}
		if r.Forecast == nil || r.Forecast.Days != 11 || r.Forecast.Full.Days == nil {
			t.Errorf("forecast %+v", r.Forecast)
		}
		if r.Check.ReadPacks == 0 || r.Check.ReadPacks >= r.Check.Packs {
			t.Errorf("checks %+v", r.Check)
		}
		for _, text := range []string{"public.orders", "billing", "week1", "main", deleted, "To be looked at"} {
			if !strings.Contains(page, text) {
				t.Errorf("the page has no %s", text)
			}
		}
		if n := strings.Count(page, "<circle "); n != len(r.Backups)+2*len(r.Bases)-len(r.Bases) {
			t.Errorf("%d marks for %d backups and %d windows", n, len(r.Backups), len(r.Bases))
		}
		one := w.collect(Options{Namespace: "prod2"})
		if len(one.Databases) != 2 || one.Databases[0].Namespace != "prod2" || len(one.Archives) != 0 || one.Totals.Versions != 0 {
			t.Errorf("only prod2: %+v", one.Databases)
		}
		pruned := w.collect(Options{Prune: true})
		if s := pruned.Prune.Survey; s == nil || s.Kept == 0 || pruned.Prune.AtMost == 0 {
			t.Errorf("prune %+v", pruned.Prune)
		}
		w.page(pruned)
	})
}

// sum compares the parts of a report with its whole.
func sum(t *testing.T, r *Report) {
	t.Helper()
	var backupsLogical, backupsAdded, databases, tables, added uint64
	for _, b := range r.Backups {
		if b.Class == repo.Backup && b.Status != backups.Deleted {
			backupsLogical, backupsAdded = backupsLogical+b.Logical, backupsAdded+b.Added
		}
	}
	for _, d := range r.Databases {
		databases, added = databases+d.Logical, added+d.Added
	}
	for _, x := range r.Tables {
		tables += x.Logical
	}
	if databases != backupsLogical || tables != backupsLogical || added != backupsAdded {
		t.Errorf("backups have %d bytes, databases %d, tables %d; added %d and %d", backupsLogical, databases, tables, backupsAdded, added)
	}
	var wal int64
	for _, a := range r.Archives {
		for _, d := range a.Days {
			wal += d.Bytes
		}
	}
	if wal == 0 || wal > r.Totals.WAL {
		t.Errorf("%d bytes of WAL on days, %d in all", wal, r.Totals.WAL)
	}
	var read int64
	for _, a := range r.Check.Ages {
		read += a.Bytes
	}
	if read != r.Check.Bytes {
		t.Errorf("%d bytes by age of %d in packs", read, r.Check.Bytes)
	}
}

// TestHostileNames: what comes from a database stays text.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const bad = `</title></script><script>alert(1)</script><img src=x onerror='a'> & "q" javascript:x`
		d := &database{namespace: "n<b>&", name: bad, tables: []dataTable{{schema: `"><svg onload=1>`, name: bad, oid: 20000, data: []byte("1\n")}}}
		w.backup(d, "Success")
		w.stream(`<i>"'&`, []byte("x"))
		page := w.page(w.collect(Options{}))
		for _, text := range []string{"<script>alert", "<img", "<svg onload", "<i>", "n<b>"} {
			if strings.Contains(page, text) {
				t.Errorf("the page has %s", text)
			}
		}
		if n := strings.Count(page, "<script"); n != 1 {
			t.Errorf("%d scripts", n)
		}
		if !strings.Contains(page, "&lt;script&gt;alert(1)") {
			t.Error("the name is not there at all")
		}
	})
}

// TestLittle: repositories with hardly anything in them.
func TestLittle(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(w *world){
		"empty":        func(*world) {},
		"streams only": func(w *world) { w.stream("a", []byte("x")); w.stream("b", nil) },
		"WAL only":     func(w *world) { w.push(w.newCluster("main")) },
		"base only":    func(w *world) { w.base(w.newCluster("main"), "l") },
		"one backup":   func(w *world) { w.backup(newDatabase("default", "d", 10), "Success") },
		"no config":    func(w *world) { w.backup(newDatabase("default", "d", 10), "Success", "config.yaml") },
		"deleted":      func(w *world) { w.delete("default", w.backup(newDatabase("default", "d", 10), "Success")) },
		"a year later": func(w *world) {
			w.stream("a", []byte("x"))
			time.Sleep(800 * 24 * time.Hour)
			w.stream("a", []byte("y"))
		},
		"a clock that is ahead": func(w *world) {
			w.st.SetClock(func() time.Time { return time.Now().Add(90 * 24 * time.Hour) })
			w.stream("a", []byte("x"))
		},
		"no clock at all": func(w *world) {
			w.st.SetClock(func() time.Time { return time.Time{} })
			w.push(w.newCluster("main"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				fill(w)
				r := w.collect(Options{Capacity: 1})
				w.page(r)
				out, err := json.Marshal(r)
				w.must(err)
				if strings.Contains(string(out), "null") {
					t.Errorf("a list is null: %s", out)
				}
				stats, err := w.r.Stats(t.Context(), repo.StatsOptions{})
				w.must(err)
				if last := r.Days[len(r.Days)-1]; last.Stored != stats.Stored {
					t.Errorf("%d bytes on the last day, %d in all", last.Stored, stats.Stored)
				}
			})
		})
	}
}

// TestDamage: what cannot be read is told, and the rest is there.
func TestDamage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := newDatabase("default", "sales", 300)
		var all []string
		for range 3 {
			all = append(all, w.backup(d, "Success"))
			time.Sleep(24 * time.Hour)
		}
		w.stream("s", []byte("x"))
		flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
		w.st.Corrupt("manifests/gp/default/"+all[0]+"/gpbackup_0_"+all[0]+"_16384", flip)
		w.st.Corrupt("manifests/gp/default/"+all[1]+"/gpbackup_"+all[1]+"_toc.yaml", flip)
		var stream string
		w.must(w.st.List(t.Context(), "manifests/stream/", func(i storage.Info) error { stream = i.Key; return nil }))
		w.st.Corrupt(stream, flip)
		r := w.collect(Options{})
		w.page(r)
		var got []string
		for _, b := range r.Backups {
			got = append(got, string(b.Status))
		}
		if fmt.Sprint(got) != "[damaged complete damaged damaged]" {
			t.Errorf("backups are %v", got)
		}
		if !slices.ContainsFunc(r.Attention, func(s string) bool { return strings.HasPrefix(s, "3 backups have damaged manifests") }) {
			t.Errorf("attention: %q", r.Attention)
		}
	})
}
