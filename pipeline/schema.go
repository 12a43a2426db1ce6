package pipeline

import (
	_ "embed"
	"strconv"
	"strings"
)

//go:embed pipeline.schema.json
var schemaTemplate string

// Schema returns the JSON Schema (draft 2020-12) of the native file format, with the keys
// of steps from the table of [Keys]. It covers the structure; [Parse] also checks what
// spans several keys.
func Schema() []byte {
	var steps, services, besideSpec []string
	for _, key := range Keys() {
		property := strconv.Quote(key.Name) + ": " + described(key)
		if key.OfSteps {
			steps = append(steps, property)
		} else {
			services = append(services, property)
		}
		if key.BesideSpec {
			besideSpec = append(besideSpec, strconv.Quote(key.Name))
		}
	}
	lines := func(list []string) string { return "\n        " + strings.Join(list, ",\n        ") + "\n      " }
	return []byte(strings.NewReplacer(
		`"@stepKeys": true`, lines(steps), `"@container": true`, lines(services),
		`"@besideSpec"`, `"name", `+strings.Join(besideSpec, ", "),
	).Replace(schemaTemplate))
}

// described is the schema of a key's value with its documentation.
func described(key Key) string {
	return `{"description": ` + strconv.Quote(key.Doc) + ", " + strings.TrimPrefix(key.Schema, "{")
}
