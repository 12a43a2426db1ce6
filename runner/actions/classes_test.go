package actions_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/runner/actions"
)

// keysOfOptions are the keys of a native step that the fields of options become. The trust classes
// of the keys are those of the fields.
var keysOfOptions = map[string][]string{
	"Env": {"environment"}, "EnvFiles": {"env_file"}, "Aliases": {"aliases"}, "Ports": {"ports"}, "Volumes": {"volumes", "cache"},
	"Ready": {"ready"}, "Network": {"network"}, "Command": {"entrypoint"},
}

// otherOptions are the fields that become no key of their own, with why.
var otherOptions = map[string]string{
	"Flags":    "keys of a step, by their names",
	"Warnings": "text for people",
}

// keysOfContainer and otherOfContainer are the same for what the runner asks for beside options.
var keysOfContainer = map[string][]string{
	"Image": {"image"}, "Built": {"image"}, "EntryPoint": {"entrypoint"}, "EntryPointArgs": {"args"}, "WorkingDirectory": {"directory"},
	"Environment": {"environment"}, "Ports": {"ports"}, "PrependPath": {"environment"}, "SystemMounts": {"volumes"}, "UserMounts": {"volumes"},
}

var otherOfContainer = map[string]string{
	"ContextName":   "what a service is called",
	"Dockerfile":    "the keeper builds it with rights of a step: see policies that refuse it",
	"CreateOptions": "read into CreateOptions, whose fields have classes of their own",
	"Registry":      "a login at the registry of the image, which the workflow has",
}

// Every field by which a workflow says what its containers are has a trust class.
func TestEveryFieldOfAContainerHasATrustClass(t *testing.T) {
	classOf := map[string]pipeline.Class{}
	for _, key := range pipeline.Keys() {
		classOf[key.Name] = key.Class
	}
	for _, test := range []struct {
		of    reflect.Type
		keys  map[string][]string
		other map[string]string
	}{
		{reflect.TypeFor[actions.CreateOptions](), keysOfOptions, otherOptions},
		{reflect.TypeFor[actions.Container](), keysOfContainer, otherOfContainer},
	} {
		var fields []string
		for _, field := range reflect.VisibleFields(test.of) {
			fields = append(fields, field.Name)
			if len(test.keys[field.Name]) == 0 && test.other[field.Name] == "" {
				t.Errorf("the field %s of %s has no trust class: say which keys of a step it becomes", field.Name, test.of)
			}
		}
		for field, keys := range test.keys {
			if !slices.Contains(fields, field) {
				t.Errorf("%s has no field %s", test.of, field)
			}
			for _, key := range keys {
				if classOf[key] == "" {
					t.Errorf("the field %s of %s becomes the key %s, which has no trust class", field, test.of, key)
				}
			}
		}
		for field := range test.other {
			if !slices.Contains(fields, field) {
				t.Errorf("%s has no field %s", test.of, field)
			}
		}
	}
}
