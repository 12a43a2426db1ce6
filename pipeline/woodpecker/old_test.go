package woodpecker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

const oldFile = `branches: [main]
platform: linux/amd64
pipeline:
  lint: {image: golang, group: check, commands: [go vet], environment: [A=b]}
  test: {image: golang, group: check, commands: [go test], environment: {TOKEN: plain}, secrets: [token, {source: pw, target: db_pw}]}
  publish: {image: plugin, settings: {repo: a}, secrets: [plugin_password]}
  notify: {image: busybox, commands: [echo]}
`

// Groups run at once, and the others one after the other; secrets are variables in upper case.
func TestOldFilesAreConverted(t *testing.T) {
	o := push()
	o.Raw = true
	set, err := woodpecker.Parse("ci.yml", []byte(oldFile), o)
	if err != nil || len(set.Warnings) > 0 {
		t.Fatal(err, set.Warnings)
	}
	w := set.Workflows[0]
	if !w.Conditional || w.Labels["platform"] != "linux/amd64" {
		t.Errorf("conditional %t, labels %v", w.Conditional, w.Labels)
	}
	text, err := pipeline.Write(w.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"A: b", "TOKEN: {from_secret: token}", "DB_PW: {from_secret: pw}", "password: {from_secret: plugin_password}", "depends_on: [lint, test]", "depends_on: [publish]",
	} {
		if strings.Count(string(text), want) != 1 {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	for i, want := range []string{"[]", "[]", "[lint test]", "[publish]"} {
		if got := fmt.Sprint(w.Steps[i].DependsOn); got != want {
			t.Errorf("%s depends on %s, not %s", w.Steps[i].Name, got, want)
		}
	}
}

func TestOldFilesAreNotRun(t *testing.T) {
	_, err := woodpecker.Parse("ci.yml", []byte(oldFile), push())
	if err == nil || !strings.Contains(err.Error(), "rename pipeline: to steps:") {
		t.Errorf("%v", err)
	}
}
