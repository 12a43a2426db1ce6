package engine_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// ownFields are the fields of a sandbox's step that the engine fills in by itself, with
// what they are made of.
var ownFields = map[string]string{
	"ID":             "the run",
	"Lowerdirs":      "the image, which was admitted",
	"Config":         "the image, which was admitted",
	"Secrets":        "SecretFiles",
	"Roots":          "the admitted plan",
	"Upper":          "an earlier container of the same step",
	"Instead":        "the program of a shell, which was admitted",
	"Workspace":      "the plan",
	"WorkspaceBelow": "the plan",
	"Aliases":        "the step's name and its key aliases",
	"Peers":          "the names of services",
	"Egress":         "the key egress and the policy",
	"Refused":        "the run",
	"WorkspaceOwner": "Owner",
	"SafeDirectory":  "the way in; not for privileged plugins",
	"Stdout":         "the run",
	"Stderr":         "the run",
}

// TestEveryFieldOfASandboxStepComesFromWhatWasAdmitted fails for a field by which a step
// could get something that the policy has not seen.
func TestEveryFieldOfASandboxStepComesFromWhatWasAdmitted(t *testing.T) {
	planned := []string{"Advanced.PidFile", "Advanced.IDFile"}
	for _, key := range pipeline.Keys() {
		planned = append(planned, key.Fields...)
	}
	var check func(path string, of reflect.Type)
	check = func(path string, of reflect.Type) {
		for _, field := range reflect.VisibleFields(of) {
			name := path + field.Name
			switch field.Name {
			case "Names", "Limits", "Security", "Advanced":
				check(name+".", field.Type)
			default:
				if _, own := ownFields[name]; !own && !slices.Contains(planned, name) {
					t.Errorf("the field %s has no trust class: add a key to the table, or say where it comes from", name)
				}
			}
		}
	}
	check("", reflect.TypeFor[sandbox.Step]())
}
