package actions_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/runner/actions"
)

func TestInputsBecomeArguments(t *testing.T) {
	tests := []struct {
		name   string
		inputs map[string]string
		want   []string
	}{
		{"nothing", nil, nil},
		{"file that looks like a flag", map[string]string{"FILE": "-x.yml"}, []string{"--", "-x.yml"}},
		{"lists by lines and commas", map[string]string{"STEPS": "build, test\n\n unit test \n", "EXCLUDE": "deploy"},
			[]string{"--only=build", "--only=test", "--only=unit test", "--skip=deploy"}},
		{"variables", map[string]string{"ENV": "A=1\n# a comment\n  B = x=y \nC\r\nD=\n"},
			[]string{"--env=A=1", "--env=B= x=y ", "--env=C", "--env=D="}},
		{"secret of several lines", map[string]string{"SECRETS": "KEY<<END\n-- BEGIN\na=b<<c\n  END\nEND\nTOKEN=a<<b\n"},
			[]string{"--literal-secret=KEY=-- BEGIN\na=b<<c\n  END", "--literal-secret=TOKEN=a<<b"}},
		{"empty value of several lines", map[string]string{"ENV": "A<<E\nE"}, []string{"--env=A="}},
		{"values", map[string]string{"PULL": "never", "PLATFORM": "linux/arm64", "TIMEOUT": "10m", "ROOT": "/x y"},
			[]string{"--pull=never", "--platform=linux/arm64", "--timeout=10m", "--root=/x y"}},
		{"switches", map[string]string{"FAIL_FAST": "true", "DRY_RUN": "false", "STEP_COMMANDS": "true"},
			[]string{"--fail-fast", "--github-step-commands"}},
		{"the words of other actions", map[string]string{"INCLUDE": "build", "NETWORK": "private", "CACHE_DIR": "/cache", "ARTIFACTS": "out"},
			[]string{"--only=build", "--network=private", "--root=/cache", "--artifacts=out"}},
		{"a JSON report where there is none", map[string]string{"REPORT": "out/junit.xml", "RUNNER_TEMP": "/t", "STEPEXEC_ACTION_ID": "7"},
			[]string{"--report=out/junit.xml", "--report=/t/stepexec-report-7.json"}},
		{"a JSON report of one's own", map[string]string{"REPORT": "r.json", "RUNNER_TEMP": "/t"}, []string{"--report=r.json"}},
		{"more arguments, then the file", map[string]string{"ARGS": "--locked\n--matrix=GO=1.26", "FILE": "ci.yml"},
			[]string{"--locked", "--matrix=GO=1.26", "--", "ci.yml"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := actions.RunArguments(environment(test.inputs))
			want := append([]string{"--output=github", "--grace=5s"}, test.want...)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestADryRunHasNeitherGroupsNorReports(t *testing.T) {
	got, err := actions.RunArguments(environment(map[string]string{"DRY_RUN": "true", "REPORT": "r.md", "RUNNER_TEMP": "/t", "STEP_COMMANDS": "true"}))
	if want := []string{"--dry-run", "--grace=5s"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %q; want %q", err, got, want)
	}
}

func TestBadInputsAreNamedAndNoValueIsShown(t *testing.T) {
	tests := []struct{ name, input, value, want string }{
		{"no name", "SECRETS", "A=1\n=hunter2", "input secrets: line 2: must be NAME=VALUE"},
		{"a value alone", "SECRETS", "hunter2 hunter2", "input secrets: line 1: must be NAME=VALUE"},
		{"no end", "ENV", "A<<END\nhunter2\n", `input env: line 1: there is no line "END"`},
		{"neither true nor false", "DRY_RUN", "yes", `input dry-run: "yes" must be true or false`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := actions.RunArguments(environment(map[string]string{test.input: test.value}))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// environment has inputs, by names without INPUT_, and variables that are none.
func environment(inputs map[string]string) func(string) string {
	return func(name string) string {
		if name == "RUNNER_TEMP" || name == "STEPEXEC_ACTION_ID" {
			return inputs[name]
		}
		short, ok := strings.CutPrefix(name, "INPUT_")
		if !ok {
			return ""
		}
		return inputs[short]
	}
}

// Whatever the text is, each argument is a flag with a name and a value of its own.
func FuzzVariables(f *testing.F) {
	for _, seed := range []string{"A=1", "A<<B\nx\nB\nC", "A<<\n\n", "=\n", "\r\n", "A<<B"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args, err := actions.RunArguments(environment(map[string]string{"SECRETS": text}))
		if err != nil {
			return
		}
		if i := slices.IndexFunc(args[2:], func(arg string) bool { return !strings.HasPrefix(arg, "--literal-secret=") }); i >= 0 {
			t.Errorf("%q is %q", text, args)
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte(`{"command":"prepare_job","responseFile":null,"state":{},"args":{"container":null,"services":[{"image":"a","prependPath":"x"}]}}`))
	f.Add([]byte(`{"args":{"entryPointArgs":["\"a","b\""],"portMappings":["80"],"environmentVariables":{"A":null}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := actions.ReadRequest(strings.NewReader(string(data)))
		if err != nil && strings.Contains(err.Error(), string(data)) && len(data) > 20 {
			t.Errorf("the error shows the document: %v", err)
		}
	})
}
