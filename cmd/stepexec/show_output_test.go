package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepexec/stepexec/report"
)

// validEventsCommand is `validevents FILE KIND...`: every line of the file is an event
// that the schema accepts, of a kind that it knows, and there is one of each KIND.
func validEventsCommand(ts *testscript.TestScript, _ bool, args []string) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.EventSchema()))
	check(ts, err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	check(ts, compiler.AddResource("events.json", document))
	schema, err := compiler.Compile("events.json")
	check(ts, err)
	var missing = slices.Clone(args[1:])
	lines := bufio.NewScanner(strings.NewReader(ts.ReadFile(args[0])))
	for lines.Scan() {
		event, err := jsonschema.UnmarshalJSON(bytes.NewReader(lines.Bytes()))
		check(ts, err)
		if err := schema.Validate(event); err != nil {
			ts.Fatalf("%s: %v", lines.Text(), err)
		}
		kind := event.(map[string]any)["kind"].(string)
		if !bytes.Contains(report.EventSchema(), []byte(`"kind": {"const": "`+kind+`"}`)) {
			ts.Fatalf("the schema does not know the kind %s", kind)
		}
		missing = slices.DeleteFunc(missing, func(k string) bool { return k == kind })
	}
	check(ts, lines.Err())
	if len(missing) > 0 {
		ts.Fatalf("there is no event of the kinds %v", missing)
	}
}

func TestColoursFollowTheEnvironment(t *testing.T) {
	for _, test := range []struct {
		env      map[string]string
		terminal bool
		want     bool
	}{
		{nil, true, true},
		{nil, false, false},
		{map[string]string{"NO_COLOR": "1"}, true, false},
		{map[string]string{"NO_COLOR": ""}, true, true}, // as no-color.org says
		{map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{map[string]string{"CLICOLOR_FORCE": "0"}, false, false},
		{map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, true, false},
		{map[string]string{"CLICOLOR": "0"}, true, false},
		{map[string]string{"TERM": "dumb"}, true, false},
	} {
		if got := colours(test.terminal, func(name string) string { return test.env[name] }); got != test.want {
			env, _ := json.Marshal(test.env)
			t.Errorf("terminal %v, %s: %v", test.terminal, env, got)
		}
	}
}

func TestTheDefaultFormatIsWhatTheOutputCanShow(t *testing.T) {
	terminal := map[string]string{"TERM": "xterm"}
	for _, test := range []struct {
		asked    string
		terminal bool
		shared   bool
		env      map[string]string
		want     string
	}{
		{"", true, false, terminal, "tty"},
		{"", false, false, terminal, "plain"},
		{"", true, false, map[string]string{"TERM": "xterm", "CI": "true"}, "plain"},
		{"", true, false, map[string]string{"TERM": "dumb"}, "plain"},
		{"", true, false, nil, "plain"},
		{"", true, true, terminal, "plain"}, // a shell may need the terminal
		{"tty", true, false, map[string]string{"TERM": "xterm", "CI": "true"}, "tty"},
		{"tty", false, false, terminal, "plain"},
		{"tty", true, true, terminal, "plain"},
		{"json", true, false, terminal, "json"},
	} {
		o := &outputFlags{format: test.asked, shared: test.shared}
		got := o.formatFor(report.Style{Terminal: test.terminal}, func(name string) string { return test.env[name] })
		if got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
