package pipeline_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Every layer sets the variables of all layers above it, so each variable ends up
// with the value of the layer it is named for.
func TestLaterEnvironmentWins(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "pipeline.env", "CI=pipeline_file\nPIPELINE_FILE=pipeline_file\nPIPELINE=pipeline_file\nSTEP_FILE=pipeline_file\n")
	writeFile(t, dir, "step.env", "STEP_FILE=step_file\nPLUGIN_SETTING=step_file\nPLUGIN_STEP=step_file\nSECRET=step_file\n")
	over := writeFile(t, dir, "over.env", "INPUT_FILE=input_file\nINPUT=input_file\n")
	p := plan(t, `
name: p
env_file: pipeline.env
environment: {PIPELINE: pipeline, STEP_FILE: pipeline, PLUGIN_SETTING: pipeline, INPUT: pipeline}
steps:
  - name: s
    image: x
    env_file: step.env
    settings: {setting: setting, step: setting}
    environment: {PLUGIN_STEP: step, INPUT_FILE: step, INPUT: step}
    secrets: [{name: token, env: SECRET}]
`, pipeline.Inputs{
		Dir: dir, EnvFiles: []string{over}, Environment: []string{"INPUT=input", "LAST=1", "LAST=2=3"},
		Secrets: map[string]string{"token": "secret"},
	})
	want := []string{
		"CI=pipeline_file",
		"INPUT=input",
		"INPUT_FILE=input_file",
		"LAST=2=3",
		"PIPELINE=pipeline",
		"PIPELINE_FILE=pipeline_file",
		"PLUGIN_SETTING=setting",
		"PLUGIN_STEP=step",
		"SECRET=secret",
		"STEPEXEC=true", "STEPEXEC_MASK=/run/stepexec/mask",
		"STEPEXEC_OUTPUT=/run/stepexec/output",
		"STEPEXEC_PIPELINE=p",
		"STEPEXEC_STEP=s",
		"STEPEXEC_WORKSPACE=/workspace",
		"STEP_FILE=step_file",
	}
	if diff := cmp.Diff(want, p.Steps[0].Env); diff != "" {
		t.Error(diff)
	}
}

func TestEnvFiles(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", "A=b\n", "A=b"},
		{"comment, export and spaces", "# c\nexport A = b # d\n", "A=b"},
		{"single quotes keep everything", `A='$B "c" \n'`, `A=$B "c" \n`},
		{"double quotes expand", "B=1\nA=\"x\\n${B}\"\n", "A=x\n1"},
		{"over several lines", "A=\"one\ntwo\"\n", "A=one\ntwo"},
		{"Windows line ends and byte order mark", "\xef\xbb\xbfA=b\r\n", "A=b"},
		{"empty value", "A=\n", "A="},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := writeFile(t, t.TempDir(), "env", test.text)
			p := plan(t, "steps: [{name: a, image: x}]", pipeline.Inputs{EnvFiles: []string{file}})
			if env := strings.Join(p.Steps[0].Env, "|") + "|"; !strings.HasPrefix(env, test.want+"|") {
				t.Errorf("got %q, want %q first", env, test.want)
			}
		})
	}
}

func TestEnvFilesTakeNothingFromTheHost(t *testing.T) {
	file := writeFile(t, t.TempDir(), "env", "A=${HOME}.\n")
	_, err := parse(t, serial).Plan(pipeline.Inputs{EnvFiles: []string{file}})
	if err == nil || !strings.Contains(err.Error(), file+":1: $HOME: ") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsOfEnvFilesDoNotShowTheirText(t *testing.T) {
	for name, text := range map[string]string{
		"no name":            "s3cret-value with spaces\n",
		"unterminated quote": "A=\"s3cret\n",
		"no equals sign":     "s3cret",
		"NUL":                "A=s3cret\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, t.TempDir(), "env", text)
			_, err := parse(t, serial).Plan(pipeline.Inputs{EnvFiles: []string{file}})
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error has the file's text: %v", err)
			}
		})
	}
}

func TestEndlessEnvFileIsRefused(t *testing.T) {
	_, err := parse(t, serial).Plan(pipeline.Inputs{EnvFiles: []string{"/dev/zero"}})
	if err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestMissingEnvFileIsErrNotExist(t *testing.T) {
	_, err := parse(t, serial).Plan(pipeline.Inputs{EnvFiles: []string{"/nonexistent"}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
