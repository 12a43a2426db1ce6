package pipeline_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// derived are the fields of a planned step that no key of a file decides, with their trust
// classes.
var derived = map[string]pipeline.Class{
	"Name":             pipeline.Free,
	"File":             pipeline.Free,
	"Line":             pipeline.Free,
	"Reason":           pipeline.Free,
	"Exports":          pipeline.Free,
	"Masks":            pipeline.Free,
	"SafeDirectory":    pipeline.Free,
	"Withheld":         pipeline.Free,     // set by the policy
	"Advanced.PidFile": pipeline.HostPath, // --pid-file
	"Advanced.IDFile":  pipeline.HostPath, // --cidfile
}

// TestEveryFieldOfAPlannedStepHasATrustClass fails for a field that is added to the model
// without a key in the table, or without a word on what it asks for.
func TestEveryFieldOfAPlannedStepHasATrustClass(t *testing.T) {
	decided := map[string]bool{}
	for _, key := range pipeline.Keys() {
		for _, field := range key.Fields {
			decided[field] = true
		}
	}
	fields := leaves("", reflect.TypeFor[pipeline.PlannedStep]())
	for _, field := range fields {
		if _, isDerived := derived[field]; !decided[field] && !isDerived {
			t.Errorf("no key of the table decides the field %s", field)
		}
	}
	for field := range decided {
		if !slices.Contains(fields, field) {
			t.Errorf("the table has the field %s, which a planned step has not", field)
		}
	}
}

// leaves are the fields of a struct, and those of its groups: names, limits, security.
func leaves(path string, of reflect.Type) []string {
	groups := []reflect.Type{reflect.TypeFor[pipeline.Names](), reflect.TypeFor[pipeline.Limits](), reflect.TypeFor[pipeline.Security](), reflect.TypeFor[pipeline.Advanced]()}
	var fields []string
	for _, field := range reflect.VisibleFields(of) {
		if slices.Contains(groups, field.Type) {
			fields = append(fields, leaves(path+field.Name+".", field.Type)...)
		} else {
			fields = append(fields, path+field.Name)
		}
	}
	return fields
}

func TestEveryKeyIsWhole(t *testing.T) {
	classes := []pipeline.Class{pipeline.Free, pipeline.Limit, pipeline.HostPath, pipeline.HostResource, pipeline.Privilege, pipeline.Joins}
	names, flags := map[string]bool{}, map[string]bool{}
	for _, key := range pipeline.Keys() {
		if names[key.Name] {
			t.Errorf("%s is there twice", key.Name)
		}
		names[key.Name] = true
		if !slices.Contains(classes, key.Class) {
			t.Errorf("%s has no trust class", key.Name)
		}
		if !strings.HasSuffix(key.Doc, ".") || len(key.Fields) == 0 {
			t.Errorf("%s has no documentation, or no fields", key.Name)
		}
		if !json.Valid([]byte(key.Schema)) || !strings.HasPrefix(key.Schema, "{") {
			t.Errorf("the schema of %s is not a JSON object: %s", key.Name, key.Schema)
		}
		for _, flag := range key.Flags {
			if flags[flag.Name] || flag.Usage == "" {
				t.Errorf("the flag --%s of %s is there twice, or has no usage", flag.Name, key.Name)
			}
			flags[flag.Name] = true
		}
	}
}

const (
	tableBegins = "<!-- from the table of keys -->\n"
	tableEnds   = "<!-- to here -->\n"
)

// TestReferenceHasTheTableOfKeys holds the table of trust classes and flags in the
// reference to the keys; -update writes it.
func TestReferenceHasTheTableOfKeys(t *testing.T) {
	const file = "../docs/pipeline.md"
	text := string(read(t, file))
	before, rest, found := strings.Cut(text, tableBegins)
	table, after, ends := strings.Cut(rest, tableEnds)
	if !found || !ends {
		t.Fatal("docs/pipeline.md has no place for the table of keys")
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+tableBegins+keyTable()+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != keyTable() {
		t.Errorf("docs/pipeline.md has another table of keys (go test ./pipeline -update writes it):\n%s", table)
	}
}

func keyTable() string {
	var b strings.Builder
	b.WriteString("\n| key | trust | in short | flags of `stepexec step` |\n|---|---|---|---|\n")
	for _, key := range pipeline.Keys() {
		var flags []string
		for _, flag := range key.Flags {
			flags = append(flags, "`--"+flag.Name+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key.Name, key.Class, key.Doc, strings.Join(flags, ", "))
	}
	b.WriteString("\n")
	return b.String()
}
