package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// expressions have every name and label that they use looked up.
func checkExpressions(t *testing.T, where string, expressions []string) {
	t.Helper()
	byName := make(map[string]Metric)
	for _, m := range All() {
		byName[m.Name] = m
	}
	name := regexp.MustCompile(`\b(gpdedup_[a-z_]+)(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`([a-z]+)\s*(?:=~|!~|!=|=)`)
	for _, e := range expressions {
		found := name.FindAllStringSubmatch(e, -1)
		if len(found) == 0 {
			t.Errorf("%s: no metric in %s", where, e)
		}
		if strings.Count(e, "(") != strings.Count(e, ")") || strings.Count(e, "{") != strings.Count(e, "}") {
			t.Errorf("%s: not closed: %s", where, e)
		}
		for _, f := range found {
			m, known := byName[f[1]]
			if !known {
				t.Errorf("%s: there is no %s", where, f[1])
				continue
			}
			labels := append([]string{"command", "namespace", "repository", "instance"}, m.Labels...)
			for _, l := range label.FindAllStringSubmatch(f[2], -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: %s has no label %s", where, f[1], l[1])
				}
			}
			if m.Kind == Counter && !regexp.MustCompile(`(rate|increase)\(`+f[1]).MatchString(e) && !strings.HasPrefix(e, "label_values") {
				t.Errorf("%s: %s is a counter, but nobody asks how fast it grows: %s", where, f[1], e)
			}
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert       string
				Expr        string
				For         string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(read(t, "../docs/prometheus-rules.yml")))
	dec.KnownFields(true)
	if err := dec.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("rule %+v", r)
			}
			seen[r.Alert] = true
			checkExpressions(t, r.Alert, []string{r.Expr})
			for _, used := range regexp.MustCompile(`\$labels\.([a-z]+)`).FindAllStringSubmatch(fmt.Sprint(r.Annotations), -1) {
				if strings.Contains(r.Expr, " by (") && !strings.Contains(r.Expr, used[1]) {
					t.Errorf("%s: the summary has the label %s, which the expression drops", r.Alert, used[1])
				}
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d rules", len(seen))
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Type  string
				Query any
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, "../docs/grafana-dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	for _, p := range board.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 || p.GridPos.H < 1 || p.Title == "" {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			checkExpressions(t, p.Title, []string{target.Expr})
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s shows nothing", p.Title)
		}
	}
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			checkExpressions(t, v.Name, []string{fmt.Sprint(q["query"])})
		}
	}
}

// TestDocumented: docs/metrics.md has every name, and no other.
func TestDocumented(t *testing.T) {
	t.Parallel()
	text := read(t, "../docs/metrics.md")
	var known []string
	for _, m := range All() {
		known = append(known, m.Name)
		row := "| `" + m.Name + "` |"
		if !strings.Contains(text, row) {
			t.Errorf("docs/metrics.md has no row %s", row)
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, row) && !strings.Contains(line, "| "+string(m.Kind)+" |") {
				t.Errorf("docs/metrics.md: %s is a %s", m.Name, m.Kind)
			}
			for _, l := range m.Labels {
				if strings.HasPrefix(line, row) && !strings.Contains(line, "`"+l+"`") {
					t.Errorf("docs/metrics.md: %s has a label %s", m.Name, l)
				}
			}
		}
	}
	for _, name := range regexp.MustCompile(`\bgpdedup_[a-z_]+[a-z]\b`).FindAllString(text, -1) {
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "gpdedup_backup_data") {
			t.Errorf("docs/metrics.md: there is no %s", name)
		}
	}
}
