package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// everyReport calls f with reports on runs in every state.
func everyReport(t *testing.T, f func(t *testing.T, r *report.Report)) {
	t.Helper()
	for name, make := range map[string]func() *report.Report{
		"of a run in which everything happens": story,
		"of nothing":                           func() *report.Report { return report.NewCollector(0).Report() },
		"of a failure before any run": func() *report.Report {
			c := report.NewCollector(0)
			c.Event(event.Event{Kind: event.Failure, Error: "no such key " + hostile, File: "pipeline.yml", Line: 3, Column: 1})
			return c.Report()
		},
		"of a run that died":    func() *report.Report { return half(true) },
		"of a run that goes on": func() *report.Report { return half(false) },
	} {
		t.Run(name, func(t *testing.T) { f(t, make()) })
	}
}

// half is the report on a run of which two steps have begun.
func half(died bool) *report.Report {
	c := report.NewCollector(0)
	c.Plan("cell", "4qpjm4ppoc", "ci", start, []event.StepResult{{Step: "build", Image: "golang"}, {Step: "test", Image: "golang", DependsOn: []string{"build"}}, {Step: "push", Image: "alpine"}})
	for _, e := range []event.Event{
		{Kind: event.RunStarted, Time: start, Run: "4qpjm4ppoc", Name: "ci"},
		{Kind: event.StepStarted, Time: at(10), Step: "build", Image: "golang"},
		{Kind: event.Line, Time: at(20), Step: "build", Stream: event.Stdout, Text: "compiling"},
		{Kind: event.StepFinished, Time: at(30), Step: "build", Result: &event.StepResult{Step: "build", Image: "golang", Status: event.Succeeded, Started: at(10), Duration: ms(20)}},
		{Kind: event.StepStarted, Time: at(40), Step: "test", Image: "golang"},
	} {
		e.Cell = "cell"
		c.Event(e)
	}
	r := c.Report()
	r.MarkDied(func(string) bool { return !died })
	return r
}

func TestEveryReportInJSONFitsItsSchema(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("report.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	everyReport(t, func(t *testing.T, r *report.Report) {
		var out bytes.Buffer
		if err := report.WriteJSON(&out, r); err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(&out)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Error(err)
		}
	})
}

func TestEveryJUnitReportIsXMLWithRightCounts(t *testing.T) {
	everyReport(t, func(t *testing.T, r *report.Report) {
		var out bytes.Buffer
		if err := report.WriteJUnit(&out, r); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		decoder := xml.NewDecoder(bytes.NewReader(out.Bytes()))
		decoder.Strict = true
		want, skipped := map[string]string{}, 0
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, out.Bytes())
			}
			if element, ok := token.(xml.StartElement); ok {
				counts[element.Name.Local]++
				for _, a := range element.Attr {
					switch {
					case element.Name.Local == "testsuites":
						want[a.Name.Local] = a.Value
					case element.Name.Local == "testsuite" && a.Name.Local == "skipped":
						n, err := strconv.Atoi(a.Value)
						if err != nil {
							t.Fatal(err)
						}
						skipped += n
					}
				}
			}
		}
		// Jenkins' schema, junit-10.xsd, knows the attribute in a suite only.
		if _, given := want["skipped"]; given || skipped != counts["skipped"] {
			t.Errorf("testsuites have a skipped attribute: %v; suites count %d skipped, and there are %d", given, skipped, counts["skipped"])
		}
		for attribute, element := range map[string]string{"tests": "testcase", "failures": "failure", "errors": "error"} {
			if want[attribute] != fmt.Sprint(counts[element]) {
				t.Errorf("%s=%q, and %d of %s", attribute, want[attribute], counts[element], element)
			}
		}
		if r.Status() != event.Succeeded && r.Status() != event.Running && counts["failure"]+counts["error"] == 0 {
			t.Errorf("%s, and all is green:\n%s", r.Status(), out.Bytes())
		}
		checkJUnit(t, out.String())
	})
}

func TestLogsKeepHeadAndTailWithinTheirBound(t *testing.T) {
	c := report.NewCollector(100_000)
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r", Name: "ci"})
	const lines = 20_000
	for i := range lines {
		// What does not compress well.
		text := fmt.Sprintf("%d %x", i, uint64(i)*0x9e3779b97f4a7c15)
		c.Event(event.Event{Kind: event.Line, Time: at(i), Step: "loud", Stream: event.Stdout, Text: text})
	}
	c.Event(event.Event{Kind: event.Line, Time: at(lines), Step: "quiet", Stream: event.Stdout, Text: "one line"})
	r := c.Report()
	loud, quiet := r.Runs[0].Steps[0].Log, r.Runs[0].Steps[1].Log
	if loud.Lines != lines || loud.Missing() == 0 || quiet.Missing() != 0 {
		t.Errorf("%d lines, %d missing; of the other %d missing", loud.Lines, loud.Missing(), quiet.Missing())
	}
	all, err := loud.Tail(lines)
	if err != nil {
		t.Fatal(err)
	}
	gaps, shown := 0, 0
	for i, line := range all {
		if line.Missing > 0 {
			gaps++
			shown += line.Missing
			continue
		}
		if !strings.HasPrefix(line.Text, fmt.Sprint(shown, " ")) || line.After != time.Duration(shown)*time.Millisecond {
			t.Fatalf("line %d is %+v, after %d lines", i, line, shown)
		}
		shown++
	}
	if gaps != 1 || shown != lines || all[0].Missing > 0 || all[len(all)-1].Missing > 0 {
		t.Errorf("%d gaps, %d lines with those that are missing", gaps, shown)
	}
}

func TestAReportThatCannotBeWrittenIsAnError(t *testing.T) {
	everyReport(t, func(t *testing.T, r *report.Report) {
		for _, kind := range report.Kinds() {
			if err := report.Write(&fullWriter{writes: 1}, report.Kind(kind), r); !errors.Is(err, errFull) && len(r.Runs)+len(r.Error) > 0 {
				t.Errorf("%s: error %v", kind, err)
			}
		}
	})
}

func TestKindOfAFile(t *testing.T) {
	for file, want := range map[string]report.Kind{"a.html": report.KindHTML, "b/a.XML": report.KindJUnit, "a.json": report.KindJSON, "a.md": report.KindMarkdown} {
		if kind, err := report.KindOf(file); err != nil || kind != want {
			t.Errorf("%s: %s, %v", file, kind, err)
		}
	}
	if _, err := report.KindOf("report"); err == nil {
		t.Error("a name without an ending was accepted")
	}
}
