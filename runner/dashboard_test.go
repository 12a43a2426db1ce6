package runner_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/runner"
	"github.com/stepexec/stepexec/runner/health"
)

const dashboardFile = "../contrib/grafana-runner.json"

// The dashboard has a panel for each metric of a runner. Write it anew with STEPEXEC_WRITE=1.
func TestTheDashboardHasAllMetrics(t *testing.T) {
	want := dashboard(t)
	if os.Getenv("STEPEXEC_WRITE") != "" {
		if err := os.WriteFile(dashboardFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(dashboardFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not made of the metrics (%v)", dashboardFile, err)
	}
}

// dashboard is JSON in Grafana's model, version 39 of its schema.
func dashboard(t *testing.T) []byte {
	t.Helper()
	type object = map[string]any
	var panels []object
	seen := map[string]bool{}
	for _, unit := range []string{"stage", "workflow"} {
		for _, m := range runner.NewStats(unit, 1, time.Minute).Metrics() {
			name := strings.ReplaceAll(strings.ReplaceAll(m.Name, "workflow", "stage"), "stage", "(stage|workflow)")
			if seen[name] {
				continue
			}
			seen[name] = true
			n := len(panels)
			panels = append(panels, object{
				"id": n + 1, "type": "timeseries", "title": strings.TrimSuffix(strings.ReplaceAll(m.Help, "Stages", "Builds"), "."),
				"datasource": object{"type": "prometheus", "uid": "${datasource}"},
				"gridPos":    object{"h": 8, "w": 12, "x": n % 2 * 12, "y": n / 2 * 8},
				"targets":    []object{{"refId": "A", "expr": query(name, m), "legendFormat": legend(m)}},
			})
		}
	}
	data, err := json.MarshalIndent(object{
		"title": "stepexec runners", "uid": "stepexec-runners", "schemaVersion": 39, "refresh": "30s", "time": object{"from": "now-6h", "to": "now"},
		"templating": object{"list": []object{{"name": "datasource", "type": "datasource", "query": "prometheus"}}},
		"panels":     panels,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// query is an expression of Prometheus: the growth of a counter a second, or a gauge.
func query(name string, m health.Metric) string {
	selector := name
	if strings.Contains(name, "|") {
		selector = fmt.Sprintf("{__name__=~%q}", name)
	}
	switch {
	case m.Kind == health.Counter && m.Label != "":
		return fmt.Sprintf("sum by (%s) (rate(%s[5m]))", m.Label, selector)
	case m.Kind == health.Counter:
		return fmt.Sprintf("sum(rate(%s[5m]))", selector)
	case strings.HasSuffix(name, "last_contact_seconds"):
		return "time() - " + selector
	}
	return selector
}

func legend(m health.Metric) string {
	if m.Label != "" {
		return "{{" + m.Label + "}}"
	}
	return "{{instance}}"
}
