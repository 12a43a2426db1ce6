package report_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/event/eventtest"
	"github.com/stepexec/stepexec/report"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.EventSchema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("events.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("events.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestEventSchemaAcceptsWhatJSONWrites(t *testing.T) {
	schema := compileSchema(t)
	for _, e := range append(events(), eventtest.Sample()...) {
		var line bytes.Buffer
		j := report.NewJSON(&line)
		j.Event(e)
		event, err := jsonschema.UnmarshalJSON(&line)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(event); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

// TestEventSchemaDescribesEveryKind also checks the list of known kinds, which later kinds
// are not in.
func TestEventSchemaDescribesEveryKind(t *testing.T) {
	var document struct {
		OneOf []struct {
			Properties struct {
				Kind struct {
					Const event.Kind
					Not   struct{ Enum []event.Kind }
				}
			}
		}
	}
	if err := json.Unmarshal(report.EventSchema(), &document); err != nil {
		t.Fatal(err)
	}
	var described, known []event.Kind
	for _, alternative := range document.OneOf {
		kind := alternative.Properties.Kind
		known = append(known, kind.Not.Enum...)
		if kind.Const != "" {
			described = append(described, kind.Const)
		}
	}
	for _, kinds := range [][]event.Kind{described, known} {
		slices.Sort(kinds)
		if want := slices.Sorted(slices.Values(event.Kinds())); !slices.Equal(kinds, want) {
			t.Errorf("the schema has %v, want %v", kinds, want)
		}
	}
}

func TestEventSchemaRefusesWhatIsNoEvent(t *testing.T) {
	schema := compileSchema(t)
	for _, line := range []string{
		`{"kind":"line","step":"a","stream":"stdout"}`,
		`{"time":"2026-11-23T12:00:00Z","kind":"line","step":"a","stream":"stdin"}`,
		`{"time":"2026-11-23T12:00:00Z","kind":"line","stream":"stdout"}`,
		`{"time":"2026-11-23T12:00:00Z","kind":"run_started","version":2,"run":"a"}`,
		`{"time":"yesterday","kind":"warning","text":"a"}`,
		`{"time":"2026-11-23T12:00:00Z","kind":"step_finished","step":"a","result":{"step":"a","image":"x","status":"good","exit_code":0,"duration_ms":1}}`,
	} {
		event, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(event) == nil {
			t.Errorf("accepted: %s", line)
		}
	}
}

// TestEventSchemaHasEveryField holds the schema to the types, in both directions.
func TestEventSchemaHasEveryField(t *testing.T) {
	var document struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(report.EventSchema(), &document); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]any{
		"": event.Event{}, "result": event.StepResult{}, "summary": event.Summary{},
		"progress": event.Progress{}, "build": event.Build{}, "usage": event.Usage{}, "attempt": event.Attempt{},
	} {
		properties := document.Properties
		if name != "" {
			properties = document.Defs[name].Properties
		}
		var fields []string
		for field := range reflect.TypeOf(of).Fields() {
			tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fields = append(fields, tag)
		}
		slices.Sort(fields)
		if diff := cmp.Diff(fields, slices.Sorted(maps.Keys(properties))); diff != "" {
			t.Errorf("%T, and what the schema has (-type +schema):\n%s", of, diff)
		}
	}
}

// TestEveryEntryOfTheSchemasHasADescription looks at all properties; a condition, which has only a constant, is none.
func TestEveryEntryOfTheSchemasHasADescription(t *testing.T) {
	for name, schema := range map[string][]byte{"events": report.EventSchema(), "report": report.Schema()} {
		var document map[string]any
		if err := json.Unmarshal(schema, &document); err != nil {
			t.Fatal(err)
		}
		delete(document, "oneOf")
		if n := describe(t, name, document); n < 50 {
			t.Errorf("%s: %d entries were looked at", name, n)
		}
	}
}

// describe complains about properties without a description, and counts all of them.
func describe(t *testing.T, path string, node any) (n int) {
	t.Helper()
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			n += describe(t, path, item)
		}
	case map[string]any:
		properties, _ := node["properties"].(map[string]any)
		for name, value := range properties {
			n++
			if property, ok := value.(map[string]any); ok && property["description"] == nil {
				t.Errorf("%s.%s has no description", path, name)
			}
		}
		for name, value := range node {
			n += describe(t, path+"/"+name, value)
		}
	}
	return n
}
