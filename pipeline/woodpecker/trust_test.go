package woodpecker_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

// optionValues has a value for every key that backend_options.stepexec may have.
var optionValues = map[string]string{
	"user": `"1000"`, "timeout": `"1m"`, "retry": `{"attempts": 2}`, "ready": `{"tcp": 80}`, "cache": `["c:/cache"]`, "platform": `"linux/amd64"`,
	"cpus": "1", "cpu_quota": "50000", "cpu_period": "100000", "cpu_shares": "512", "cpuset_cpus": `"0"`, "cpuset_mems": `"0"`, "memory": `"1g"`,
	"memory_swap": `"2g"`, "pids": "100", "io_weight": "100", "shm_size": `"64m"`, "ulimits": `{"nofile": 1024}`,
	"read_only": "true", "cap_add": `["ALL"]`, "cap_drop": `["CHOWN"]`, "allow_new_privileges": "true", "unmask": "true", "group_add": `["audio"]`, "seccomp": `"unconfined"`, "apparmor": `"unconfined"`, "hostname": `"h"`,
}

// needs is the level that keys need which are not for every repository, written out: a key
// that changes its class must be looked at.
var needs = map[string]string{
	"cache":   "volumes",
	"cap_add": "security", "unmask": "security", "seccomp": "security", "apparmor": "security",
}

// Every key of a native step stands in backend_options, compiled or in a file, for those that
// are trusted with it, and for nobody else.
func TestEveryOptionNeedsItsTrust(t *testing.T) {
	for _, key := range pipeline.Keys() {
		value, possible := optionValues[key.Name]
		if _, ok := woodpecker.OptionTrust(key.Name); ok != possible {
			t.Errorf("%s is possible: %v; this table says otherwise", key.Name, ok)
		}
		if !possible {
			value = `"x"`
		}
		for level := range 8 {
			trust := woodpecker.Trust{Network: level&1 != 0, Volumes: level&2 != 0, Security: level&4 != 0}
			want := ""
			switch need := needs[key.Name]; {
			case !possible:
				want = "is not allowed here"
			case need == "volumes" && !trust.Volumes, need == "security" && !trust.Security:
				want = "Insufficient trust level to use `" + key.Name + "`: it needs " + need
			}
			for way, err := range translations(t, key.Name, value, trust) {
				if key.Name == "memory_swap" && want == "" { // it stands beside memory alone
					want = "needs memory"
				}
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("%s %s, with %+v: %v; want %q", key.Name, way, trust, err, want)
				}
			}
		}
	}
}

// translations translates a workflow with an option that a server has compiled, and one of a
// file.
func translations(t *testing.T, key, value string, trust woodpecker.Trust) map[string]error {
	t.Helper()
	options := fmt.Sprintf(`{"stepexec": {%q: %s}}`, key, value)
	document := `{"pipeline":[{"steps":[{"name":"a","uuid":"1","type":"commands","image":"x","commands":["y"],"on_success":true,"backend_options":` + options + `}]}]}`
	config, err := woodpecker.ParseConfig([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	_, compiled := config.Pipeline(woodpecker.Defaults{Trust: trust})
	_, file := woodpecker.Parse("f", []byte("steps: {a: {image: x, commands: [y], backend_options: "+options+"}}"), woodpecker.Options{Trust: &trust})
	return map[string]error{"compiled": compiled, "in a file": file}
}

// No option is read and then forgotten.
func TestEveryOptionChangesTheStep(t *testing.T) {
	translate := func(options string) pipeline.Step {
		document := `{"pipeline":[{"steps":[{"name":"a","uuid":"1","type":"commands","image":"x","commands":["y"],"on_success":true,"backend_options":{"stepexec":` + options + `}}]}]}`
		config, err := woodpecker.ParseConfig([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		out, err := config.Pipeline(woodpecker.Defaults{Trust: woodpecker.Trust{Volumes: true, Security: true}})
		if err != nil {
			t.Fatalf("%s: %v", options, err)
		}
		return out.Pipeline.Steps[0]
	}
	plain := translate(`{}`)
	for key, value := range optionValues {
		options := fmt.Sprintf("{%q: %s}", key, value)
		switch key {
		case "memory_swap":
			options = `{"memory": "1g", "memory_swap": "2g"}`
			plain := translate(`{"memory": "1g"}`)
			if reflect.DeepEqual(plain, translate(options)) {
				t.Errorf("%s changes nothing", key)
			}
			continue
		case "allow_new_privileges": // which every step has
			options = `{"allow_new_privileges": false}`
		}
		if reflect.DeepEqual(plain, translate(options)) {
			t.Errorf("%s changes nothing", key)
		}
	}
	if keyed := translate(`{"cache": [{"name": "c", "path": "/c", "key": "os"}]}`); len(keyed.Caches) != 1 {
		t.Errorf("a keyed cache: %+v", keyed.Caches)
	}
}

// The sources are what checksums of a key are about, wherever the workspace begins.
func TestChecksumsOfKeysAreOfTheSources(t *testing.T) {
	for _, c := range []struct{ base, directory, workspace, want string }{
		{"/woodpecker", "/woodpecker/src/example.com/octocat/app", "", "src/example.com/octocat/app/go.sum"},
		{"/woodpecker", "/woodpecker/src/app/sub", "/woodpecker/src/app", "src/app/go.sum"},
		{"/go", "/go/src/app", "", "src/app/go.sum"},
		{"/go", "/go/src/[app]", "", `src/\[app]/go.sum`},
		{"/woodpecker", "/woodpecker", "", "go.sum"},
		{"/woodpecker", "/elsewhere", "", "go.sum"},
	} {
		s := &woodpecker.Step{
			Name: "a", UUID: "1", Type: "commands", Image: "x", Commands: []string{"y"}, OnSuccess: true, WorkspaceBase: c.base, WorkingDir: c.directory,
			Environment:    map[string]string{"CI_WORKSPACE": c.workspace},
			BackendOptions: map[string]any{"stepexec": map[string]any{"cache": []any{map[string]any{"name": "c", "path": "/c", "key": map[string]any{"checksum": []any{"go.sum", "!vendor"}}}}}},
		}
		out, err := (&woodpecker.Config{Stages: []woodpecker.Stage{{Steps: []*woodpecker.Step{s}}}}).Pipeline(woodpecker.Defaults{Trust: woodpecker.Trust{Volumes: true}})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Pipeline.Steps[0].Caches[0].Key[0].Checksum; got[0] != c.want || !strings.HasPrefix(got[1], "!") || !strings.HasSuffix(got[1], "vendor") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// A privileged plugin of a repository that is not trusted runs as it is.
func TestPrivilegedPluginRunsAsItIs(t *testing.T) {
	for what, keys := range map[string]string{
		"commands":          `"commands":["id"]`,
		"an entrypoint":     `"entrypoint":["/bin/sh"]`,
		"a user":            `"backend_options":{"stepexec":{"user":"0"}}`,
		"a user of docker":  `"backend_options":{"docker":{"user":"0"}}`,
		"a program as test": `"backend_options":{"stepexec":{"ready":{"exec":["sh","-c","id"]}}}`,
		"a keyed cache":     `"backend_options":{"stepexec":{"cache":[{"name":"c","path":"/usr/local/bin","key":"os","mode":"read"}]}}`,
		"a cache":           `"backend_options":{"stepexec":{"cache":["c:/usr/local/bin"]}}`,
	} {
		for _, trusted := range []bool{false, true} {
			document := `{"pipeline":[{"steps":[{"name":"a","uuid":"1","type":"plugin","privileged":true,"image":"x","on_success":true,"detach":true,` + keys + `}]}]}`
			if !json.Valid([]byte(document)) {
				t.Fatal(document)
			}
			config, err := woodpecker.ParseConfig([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.Pipeline(woodpecker.Defaults{Trust: woodpecker.Trust{Volumes: trusted, Security: trusted}})
			if (err == nil) != trusted {
				t.Errorf("%s, trusted %v: %v", what, trusted, err)
			}
		}
	}
}
