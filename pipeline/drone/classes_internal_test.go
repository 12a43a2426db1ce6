package drone

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// draftFields are the fields of a draft beside those of the step that it becomes, with what they
// decide.
var draftFields = map[string]string{
	"Step":       "the native step, which passes the gate as it is",
	"node":       "where the step is in the file",
	"service":    "whether it becomes a service, which passes the gate, too",
	"condition":  "the key when",
	"dependsOn":  "the key depends_on",
	"privileged": "the key privileged",
	"mounts":     "whether the file gives it volumes: the key mounts",
}

// stepFields are the fields of a native step that no field of a planned step has the name of, with
// the keys that they are read from.
var stepFields = map[string][]string{
	"Commands": {"commands"}, "Environment": {"environment"}, "EnvFiles": {"env_file"}, "envFilesAt": {"env_file"},
	"Secrets": {"secrets"}, "Settings": {"settings"}, "Failure": {"failure"}, "When": {"when"}, "SpecFile": {"spec"}, "specFileAt": {"spec"},
	"NoNewPrivileges": {"allow_new_privileges"},
	"places":          nil, // where its values are in the file
	"Position":        nil, // where the step is in the file
	"Name":            nil, // what the step is called
}

// Every field of a step that a file of Drone becomes has a trust class.
func TestEveryFieldOfADraftHasATrustClass(t *testing.T) {
	var decided, keys []string
	for _, key := range pipeline.Keys() {
		keys = append(keys, key.Name)
		decided = append(decided, key.Fields...)
	}
	draftType := reflect.TypeFor[draft]()
	for i := range draftType.NumField() {
		if name := draftType.Field(i).Name; draftFields[name] == "" {
			t.Errorf("the field %s of a draft has no trust class: say what it decides", name)
		}
	}
	step := reflect.TypeFor[pipeline.Step]()
	for i := range step.NumField() {
		name := step.Field(i).Name
		of, listed := stepFields[name]
		isDecided := slices.ContainsFunc(decided, func(field string) bool { return field == name || strings.HasPrefix(field, name+".") })
		if !listed && !isDecided {
			t.Errorf("the field %s of a step has no trust class: no key decides it", name)
		}
		for _, key := range of {
			if !slices.Contains(keys, key) {
				t.Errorf("the field %s of a step is read from the key %s, which is none", name, key)
			}
		}
	}
	for name := range stepFields {
		if _, ok := step.FieldByName(name); !ok {
			t.Errorf("a step has no field %s", name)
		}
	}
	for name := range draftFields {
		if _, ok := draftType.FieldByName(name); !ok {
			t.Errorf("a draft has no field %s", name)
		}
	}
}
