package drone_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/drone"
)

// legacy is a file of Drone 0.x with a single step, whose keys are given.
func legacy(keys string) string { return "pipeline:\n  a: {image: x, " + keys + "}\n" }

func TestErrorsInFilesOfDrone0(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"slip beside commands", legacy("commands: [x], enviroment: {A: b}"), `.drone.yml:2:32: pipeline.a.enviroment: unknown key (did you mean "environment"?)`},
		{"pull", legacy("pull: missing"), ".drone.yml:2:23: pipeline.a.pull: must be true or false, not a string"},
		{"volume without a target", legacy("volumes: [/x]"), `.drone.yml:2:27: pipeline.a.volumes[0]: "/x" does not name a folder of the host and one of the container (write it like /var/cache:/cache or /var/cache:/cache:ro)`},
		{"secret without a source", legacy("secrets: [{target: a}]"), ".drone.yml:2:27: pipeline.a.secrets[0]: names no secret and variable (write a name, or source: NAME and target: VARIABLE)"},
		{"a list of steps", "pipeline:\n- {image: x}\n", ".drone.yml:2:1: pipeline: must be a map, not a list"},
		{"no steps", "pipeline: {}\n", ".drone.yml:1:11: pipeline: the pipeline has no steps"},
		{"no image", "pipeline: {a: {commands: [x]}}\n", ".drone.yml:1:15: pipeline.a: linter: invalid or missing image (give the step an image)"},
		{"two of a name", "pipeline: {a: {image: x}}\nservices: {a: {image: x}}\n", `.drone.yml:1:15: pipeline.a: linter: duplicate step names ("a" is the name of another step or service)`},
		{"matrix", "pipeline: {a: {image: x}}\nmatrix: [a]\n", ".drone.yml:2:9: matrix: must be a map, not a list"},
		{"a matrix whose text grows", legacy("commands: ['${A}']") + "matrix: {A: ['" + strings.Repeat("${B}", 3000) + "'], B: ['" + strings.Repeat("b", 3000) + "']}\n", ".drone.yml: matrix: the pipelines of all cells together have more than the 2097152 bytes allowed"},
		{"a matrix of many cells", legacy("commands: ["+strings.Repeat("a,", 5000)+"]") + "matrix: {A: [" + strings.Repeat("a,", 256) + "]}\n", ".drone.yml: matrix: the pipelines of all cells together have more than the 2097152 bytes allowed"},
		{"substitution", legacy("commands: ['${a[@]}']"), ".drone.yml:2:29: substitute ${…}: missing closing brace (write $${…} for what the shell is to see)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			set, err := drone.Parse(".drone.yml", []byte(test.text), push())
			if err == nil {
				err = set.Workflows[0].Wrong
			}
			if got := fmt.Sprint(err); !strings.Contains(got, test.want) {
				t.Errorf("%s", got)
			}
		})
	}
}

// A repository that is not trusted may not use the host in files of Drone 0.x, either.
func TestFilesOfDrone0AskForTrust(t *testing.T) {
	o := push()
	o.Untrusted = true
	for _, keys := range []string{"volumes: ['/:/host']", "privileged: true", "dns: 1.1.1.1", "extra_hosts: ['a:1.1.1.1']"} {
		set, err := drone.Parse(".drone.yml", []byte(legacy(keys)), o)
		if err == nil && len(set.Workflows[0].Wrong) > 0 {
			err = set.Workflows[0].Wrong
		}
		var wrong pipeline.Errors
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "untrusted repositories cannot") {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

func TestWhatDronesConverterDropsIsTold(t *testing.T) {
	for keys, want := range map[string]string{
		"when: {matrix: {A: b}}":          "drops this condition",
		"when: {local: false}":            "drops this condition",
		"when: {event: deployment}":       "no event deployment",
		"allow_failure: true":             "drops this key",
		"devices: ['/dev/null']":          "drops this key",
		"commands: [x], group: together,": "",
	} {
		set := parse(t, legacy(keys), push())
		if got := set.Warnings.Error(); len(set.Warnings) > 0 != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: %s", keys, got)
		}
	}
}

// The login of a plugin that is privileged by itself reaches it, and nothing else does.
func TestPrivilegedPluginOfDrone0GetsItsLogin(t *testing.T) {
	set := parse(t, "pipeline:\n  p: {image: plugins/docker, repo: x, secrets: [docker_username, docker_password, ld_preload]}\n", push())
	p := set.Workflows[0].Steps[0]
	if !p.Security.Privileged || len(p.Environment) != 0 || len(p.Settings) != 3 || p.Settings[2].Name != "password" || p.Settings[2].Value.FromSecret != "docker_password" {
		t.Errorf("%+v %+v", p.Environment, p.Settings)
	}
}
