package woodpecker_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

// keysOfFields are the keys of a native step that the fields of a compiled step become. The trust
// classes of the keys are those of the fields.
var keysOfFields = map[string][]string{
	"Image": {"image"}, "Pull": {"pull"}, "Detached": {"detach"}, "Privileged": {"privileged"},
	"WorkingDir": {"directory"}, "WorkspaceBase": {"mounts", "directory"}, "Environment": {"environment"}, "SecretMapping": {"secrets"},
	"Entrypoint": {"entrypoint"}, "Commands": {"commands"}, "ExtraHosts": {"extra_hosts"}, "Volumes": {"mounts"}, "Tmpfs": {"tmpfs"},
	"Devices": {"devices"}, "Networks": {"network", "aliases"}, "NetworkMode": {"network"}, "DNS": {"dns"}, "DNSSearch": {"dns_search"},
	"OnFailure": {"when"}, "OnSuccess": {"when"}, "Failure": {"failure"},
}

// fieldsOfServer are the fields of a compiled step that give the step nothing, with why.
var fieldsOfServer = map[string]string{
	"Name":           "what the step is called",
	"UUID":           "how the server tells steps apart",
	"Type":           "what the server takes the step for",
	"AuthConfig":     "a login at the registry of the image, which the repository has",
	"WorkflowLabels": "what the server says of the workflow, by which a policy chooses its rules",
	"BackendOptions": "each option has a level of its own: see OptionTrust",
}

// Every field of a compiled step has a trust class: a field that a new version of the server sends
// must be looked at before it has an effect.
func TestEveryFieldOfACompiledStepHasATrustClass(t *testing.T) {
	classOf := map[string]pipeline.Class{}
	for _, key := range pipeline.Keys() {
		classOf[key.Name] = key.Class
	}
	var fields []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[woodpecker.Step]()) {
		fields = append(fields, field.Name)
		if len(keysOfFields[field.Name]) == 0 && fieldsOfServer[field.Name] == "" {
			t.Errorf("the field %s has no trust class: say which keys of a step it becomes", field.Name)
		}
	}
	for field, keys := range keysOfFields {
		for _, key := range keys {
			if classOf[key] == "" {
				t.Errorf("the field %s becomes the key %s, which has no trust class", field, key)
			}
		}
	}
	for _, field := range slices.Concat(slices.Collect(maps.Keys(keysOfFields)), slices.Collect(maps.Keys(fieldsOfServer))) {
		if !slices.Contains(fields, field) {
			t.Errorf("a compiled step has no field %s", field)
		}
	}
}
