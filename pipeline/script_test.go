package pipeline_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

// shells are those that Debian has; busybox's is that of Alpine.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for name, argv := range map[string][]string{
		"sh": {"/bin/sh", "-e"}, "dash": {"dash", "-e"}, "bash": {"bash", "-e", "-o", "pipefail"},
		"busybox": {"busybox", "ash", "-e"}, "ksh": {"ksh", "-e"}, "zsh": {"zsh", "-e"},
	} {
		if _, err := exec.LookPath(argv[0]); err == nil {
			found[name] = argv
		}
	}
	for _, name := range []string{"sh", "bash"} {
		if found[name] == nil {
			t.Fatalf("no %s on this machine", name)
		}
	}
	return found
}

func planned(t *testing.T, step pipeline.Step) pipeline.PlannedStep {
	t.Helper()
	step.Name, step.Image = "s", "x"
	plan, err := (&pipeline.Pipeline{Steps: []pipeline.Step{step}}).Plan(pipeline.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Steps[0]
}

// run writes the script of the commands to a file and runs it as a step would.
func run(t *testing.T, argv []string, commands ...string) (output string, code int) {
	t.Helper()
	dir := t.TempDir()
	script := planned(t, pipeline.Step{Commands: commands}).Script
	file := writeFile(t, dir, "script", string(script))
	cmd := exec.CommandContext(t.Context(), argv[0], append(argv[1:len(argv):len(argv)], file)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestScriptRunsEachCommandOnceAndShowsIt(t *testing.T) {
	for _, test := range []struct {
		name     string
		commands []string
		output   string
		code     int
	}{
		{"one", []string{"echo hello"}, "+ echo hello\nhello\n", 0},
		{"backticks run once", []string{"echo `echo x >> f; cat f`"}, "+ echo `echo x >> f; cat f`\nx\n", 0},
		{"substitution runs once", []string{`echo "$(echo x >> f; cat f)"`}, "+ echo \"$(echo x >> f; cat f)\"\nx\n", 0},
		{"quotes", []string{`printf '%s|' 'it'\''s' "a \"b\""`}, "+ printf '%s|' 'it'\\''s' \"a \\\"b\\\"\"\nit's|a \"b\"|", 0},
		{"a lone quote of a comment", []string{"true # it's ' \" ` $( fine", "echo on"}, "+ true # it's ' \" ` $( fine\n+ echo on\non\n", 0},
		{"backslashes and percent signs", []string{`printf '%s\n' 'a\tb\\n %d %s'`}, "+ printf '%s\\n' 'a\\tb\\\\n %d %s'\na\\tb\\\\n %d %s\n", 0},
		{"variables are not expanded in what is shown", []string{"A=1", `echo "$A ${A} $$$A" | sed s/[0-9]*1$/x/`}, "+ A=1\n+ echo \"$A ${A} $$$A\" | sed s/[0-9]*1$/x/\n1 1 x\n", 0},
		{"a command that looks like an option", []string{": -n -e", "echo -x"}, "+ : -n -e\n+ echo -x\n-x\n", 0},
		{"several lines", []string{"for i in 1 2\ndo echo $i\ndone"}, "+ for i in 1 2\n+ do echo $i\n+ done\n1\n2\n", 0},
		{"here document", []string{"cat <<'EOF'\na $b `c` 'd'\nEOF", "echo on"}, "+ cat <<'EOF'\n+ a $b `c` 'd'\n+ EOF\na $b `c` 'd'\n+ echo on\non\n", 0},
		{"a backslash at the end", []string{`echo a \`, "echo b"}, "+ echo a \\\na\n+ echo b\nb\n", 0},
		{"state is kept", []string{"mkdir d && cd d", "A=1", "f() { echo \"$A ${PWD##*/}\"; }", "f"}, "+ mkdir d && cd d\n+ A=1\n+ f() { echo \"$A ${PWD##*/}\"; }\n+ f\n1 d\n", 0},
		{"a failure in the middle stops", []string{"echo 1", "false", "echo 2"}, "+ echo 1\n1\n+ false\n", 1},
		{"the exit code comes through", []string{"exit 42"}, "+ exit 42\n", 42},
		{"the exit code of a child comes through", []string{"sh -c 'exit 7'", "echo not reached"}, "+ sh -c 'exit 7'\n", 7},
		{"a signal comes through", []string{"sh -c 'kill -9 $$'", "true"}, "+ sh -c 'kill -9 $$'\n", 137},
		{"a command that reads stdin leaves the script alone", []string{"cat", "read x || true", "echo on"}, "+ cat\n+ read x || true\n+ echo on\non\n", 0},
		{"a test that fails in a condition", []string{"if false; then echo 1; fi", "false || echo 2"}, "+ if false; then echo 1; fi\n+ false || echo 2\n2\n", 0},
		{"an open quote is an error", []string{"echo 'a", "echo b"}, "", 2},
		{"bytes that are not ASCII", []string{"echo 'grün €'"}, "+ echo 'grün €'\ngrün €\n", 0},
		{"a newline at the end is not shown", []string{"echo a\n"}, "+ echo a\na\n", 0},
	} {
		for name, argv := range shells(t) {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				output, code := run(t, argv, test.commands...)
				if test.output == "" { // the words differ from shell to shell
					if code == 0 {
						t.Errorf("exit code 0, output %q", output)
					}
					return
				}
				// Some shells report a child's signal on stderr.
				if test.code != 137 {
					if diff := cmp.Diff(test.output, output); diff != "" {
						t.Error(diff)
					}
				}
				if code != test.code {
					t.Errorf("exit code %d, want %d", code, test.code)
				}
			})
		}
	}
}

func TestPipefailIsOnForBashByName(t *testing.T) {
	argv := parse(t, "steps: [{name: a, image: x, shell: bash, commands: x}]").Steps[0].Shell
	if _, code := run(t, argv, "false | true"); code == 0 {
		t.Error("a failed pipe went through")
	}
}

func TestShell(t *testing.T) {
	for _, test := range []struct {
		shell  string
		want   []string
		script string
	}{
		{"", []string{"/bin/sh", "-e"}, "printf '%s\\n' '+ a'\na\n\n"},
		{"shell: dash", []string{"dash", "-e"}, "printf '%s\\n' '+ a'\na\n\n"},
		{"shell: /usr/bin/bash", []string{"/usr/bin/bash", "-e", "-o", "pipefail"}, "printf '%s\\n' '+ a'\na\n\n"},
		{"shell: [bash, -u]", []string{"bash", "-u"}, "printf '%s\\n' '+ a'\na\n\n"},
		{"shell: [sh]", []string{"sh"}, "printf '%s\\n' '+ a'\na\n\n"},
		{"shell: python3", []string{"python3"}, "a\n"},
		{"shell: [node, --test]", []string{"node", "--test"}, "a\n"},
	} {
		t.Run(test.shell, func(t *testing.T) {
			step := plan(t, "steps:\n  - name: s\n    image: x\n    commands: a\n    "+test.shell+"\n", pipeline.Inputs{}).Steps[0]
			if diff := cmp.Diff(test.want, step.Shell); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.script, string(step.Script)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOtherInterpretersRunTheCommandsAsOneProgram(t *testing.T) {
	step := planned(t, pipeline.Step{Shell: []string{"perl"}, Commands: []string{"my $x = 1 +\n  2;", "print $x;"}})
	out, err := exec.CommandContext(t.Context(), "perl", writeFile(t, t.TempDir(), "s", string(step.Script))).Output()
	if err != nil || strings.TrimSpace(string(out)) != "3" {
		t.Errorf("got %q, %v", out, err)
	}
}
