package portable_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/drone"
	"github.com/stepexec/stepexec/pipeline/portable"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

// converted is what a file turns into, or the errors of the conversion.
func converted(t *testing.T, format, text string, given map[string]string) string {
	t.Helper()
	var set *pipeline.Set
	var err error
	build := pipeline.Build{Repository: pipeline.Repository{Owner: "octocat", Name: "hello"}}
	if format == "drone" {
		set, err = drone.Parse("file.yml", []byte("kind: pipeline\n"+text), drone.Options{Build: build, Raw: true, Params: given})
	} else {
		set, err = woodpecker.Parse("file.yml", []byte(text), woodpecker.Options{Build: build, Raw: true, Params: given})
	}
	if err != nil {
		return err.Error()
	}
	w := &set.Workflows[0]
	if _, err := portable.Convert(w); err != nil {
		return err.Error()
	}
	native, err := pipeline.Write(w.Pipeline)
	if err != nil {
		return err.Error()
	}
	return string(native)
}

func TestVariablesBecomeThoseOfANativeFile(t *testing.T) {
	for name, test := range map[string]struct {
		format, text string
		given        map[string]string
		want         []string
	}{
		"settings": {"drone", `steps: [{name: a, image: x, settings: {tag: "${DRONE_TAG}", list: ["v${DRONE_TAG}"], map: {a: "${DRONE_TAG=none}"}}}]`, nil,
			[]string{"tag: ${env.DRONE_TAG}", "- v${env.DRONE_TAG}", "a: ${env.DRONE_TAG:-none}"}},
		"image and environment": {"drone", `steps: [{name: a, image: "x:${V}", environment: {TAG: "${DRONE_TAG:-dev}"}, commands: [make]}]`, nil,
			[]string{"image: x:${env.V}", "TAG: ${env.DRONE_TAG:-dev}"}},
		"environment of the pipeline": {"drone", "environment: {TAG: \"${DRONE_TAG}\"}\nsteps: [{name: a, image: x, commands: [make]}]", nil, []string{"TAG: ${env.DRONE_TAG}"}},
		"commands get what they name": {"drone", `steps: [{name: a, image: x, commands: ['test $DRONE_BRANCH = main && deploy ${DRONE_TAG##v} ${DRONE_COMMIT:-}']}]`, nil,
			[]string{"DRONE_BRANCH: ${env.DRONE_BRANCH}", "DRONE_TAG: ${env.DRONE_TAG}", "DRONE_COMMIT: ${env.DRONE_COMMIT:-}", "deploy ${DRONE_TAG##v} ${DRONE_COMMIT:-}"}},
		"needed once is needed":         {"drone", `steps: [{name: a, image: x, commands: ['echo ${DRONE_TAG:-none}', 'deploy $DRONE_TAG']}]`, nil, []string{"DRONE_TAG: ${env.DRONE_TAG}\n"}},
		"a dash without braces is text": {"drone", `steps: [{name: a, image: x, commands: ['push x:$DRONE_TAG-amd64 y:$DRONE_BRANCH=1']}]`, nil, []string{"DRONE_TAG: ${env.DRONE_TAG}\n", "DRONE_BRANCH: ${env.DRONE_BRANCH}\n"}},
		"given between single quotes":   {"drone", `steps: [{name: a, image: x, commands: ["echo 'x ${DRONE_REPO_NAME} $${HOME}' \"it's ${DRONE_TAG}\" # don't\nawk '{print $1}'"]}]`, nil, []string{`echo 'x hello ${HOME}' "it's ${DRONE_TAG}" # don't`, "DRONE_TAG: ${env.DRONE_TAG}", "awk '{print $1}'"}},
		"between single quotes":         {"drone", `steps: [{name: a, image: x, commands: ["curl -d '{\"tag\": \"${DRONE_TAG}\"}'"]}]`, nil, []string{`file.yml:2:9: steps[0].commands: ${DRONE_TAG} is between single quotes, where the shell of a native step leaves it as it is (write double quotes`}},
		"defaults stay whole":           {"drone", `steps: [{name: a, image: x, settings: {a: "${ADDR:-:8080}", b: "${FLAG:--v}", c: "${TAG:-latest}"}}]`, map[string]string{"TAG": ""}, []string{"a: ${env.ADDR:-:8080}", "b: ${env.FLAG:--v}", "c: latest"}},
		"facts of the run":              {"drone", `steps: [{name: a, image: x, commands: [echo $DRONE_BUILD_STATUS $DRONE_STEP_NAME]}]`, nil, []string{"DRONE_BUILD_STATUS: {from_run: status}", "DRONE_STEP_NAME: a"}},
		"own variables stay":            {"drone", `steps: [{name: a, image: x, environment: {DRONE_TAG: own}, commands: [echo $DRONE_TAG]}]`, nil, []string{"DRONE_TAG: own"}},
		"own variables in braces are the server's, which has none": {"drone", `steps: [{name: a, image: x, environment: {X: own, T: {from_secret: t}}, commands: ["a=${X}$X$${X}. '${X}' ${X:-else} ${T}, ${Y}"]}]`, nil, []string{"- a=$X${X}. '' else , ${Y}\n"}},
		"own variables in braces of the pipeline":                  {"woodpecker", "matrix: {GO: [1]}\nsteps: [{name: a, image: x, environment: {X: own, GO: '${GO}'}, commands: ['b=${X}. ${X#o} ${GO}']}]", nil, []string{"- b=.  ${GO}\n"}},
		"own variables that are given":                             {"drone", `steps: [{name: a, image: x, environment: {X: own}, commands: ["c=${X}.$X"]}]`, map[string]string{"X": "param"}, []string{"- c=param.$X\n"}},
		"own variables of the build's names":                       {"drone", `steps: [{name: a, image: x, environment: {DRONE_TAG: own}, commands: ["c=${DRONE_TAG}"]}]`, nil, []string{"steps[0].commands: ${DRONE_TAG} is the build's variable, and the step has another one of that name (write $DRONE_TAG"}},
		"variables of the build that are passed on":                {"drone", `steps: [{name: a, image: x, environment: {DRONE_TAG: "${DRONE_TAG}"}, commands: ["c=${DRONE_TAG}"]}]`, nil, []string{"c=${DRONE_TAG}\n"}},
		"fixed values":                   {"drone", `steps: [{name: a, image: "x/${DRONE_REPO_NAME}", settings: {s: "${DRONE_REPO^^}"}}]`, nil, []string{"image: x/hello", "s: OCTOCAT/HELLO"}},
		"given values":                   {"drone", `steps: [{name: a, image: x, settings: {s: "${DRONE_COMMIT_SHA:0:7}"}}]`, map[string]string{"DRONE_COMMIT_SHA": "0123456789"}, []string{`s: "0123456"`}},
		"given where no variable can be": {"drone", `steps: [{name: a, image: x, commands: [make], when: {branch: "${B}"}}]`, map[string]string{"B": "main"}, []string{"- main"}},
		"escaped":                        {"drone", `steps: [{name: a, image: x, environment: {A: "$${HOME}"}, commands: ["echo $${HOME} $$"]}]`, nil, []string{"echo ${HOME} $\n", "A: ${HOME}\n"}},
		"axes of a matrix": {"woodpecker", "matrix: {GO: [1, 2]}\nsteps: [{name: a, image: 'x:${GO}', settings: {go: '${GO}', more: 'a ${GO:-3}'}}]", nil,
			[]string{"image: x:${matrix.GO}", "go: ${matrix.GO}", "more: a ${matrix.GO}"}},
		"branch does not count for tags": {"woodpecker", "steps: [{name: a, image: x, when: {event: [push, tag], branch: main}}]", nil,
			[]string{"when:\n      - branch:\n          - main\n        event:\n          - push\n      - event:\n          - tag\n"}},
		"a condition that is the same for all events": {"woodpecker", "steps: [{name: a, image: x, when: {event: push, branch: main}}]", nil,
			[]string{"when:\n      - branch:\n          - main\n        event:\n          - push\n"}},
		"expressions": {"woodpecker", "matrix: {GO: [1]}\nsteps: [{name: a, image: x, when: {evaluate: 'CI_COMMIT_BRANCH == \"CI_X\" && X == nil && GO == \"1\" && CI_PIPELINE_CRON == \"\"'}}]", nil,
			[]string{`evaluate: CI_COMMIT_BRANCH == "CI_X" && env["X"] == "" && matrix["GO"] == "1" && cron == ""`}},
		"detached and ignored":                  {"woodpecker", "steps: [{name: a, image: x, detach: true, failure: ignore}, {name: b, image: x, commands: make}]", nil, []string{"detach: true\n    failure: ignore\n  - name: b"}},
		"parts":                                 {"drone", `steps: [{name: a, image: x, settings: {s: "${DRONE_COMMIT_SHA:0:7}"}}]`, nil, []string{`file.yml:2:9: steps[0].settings.s: ${DRONE_COMMIT_SHA:0:7}: a native file has whole variables in values`}},
		"where no variable can be":              {"drone", `steps: [{name: a, image: x, commands: [make], when: {branch: "${B}"}}]`, nil, []string{`${B}: a native file has no variables here (give a value for every run: convert --env B=VALUE)`}},
		"unknown in an expression":              {"woodpecker", "steps: [{name: a, image: x, when: {evaluate: 'CI_COMMIT_MESSAGE == \"x\"'}}]", nil, []string{"a native file has no CI_COMMIT_MESSAGE"}},
		"text that a native file would replace": {"drone", `steps: [{name: a, image: x, settings: {s: "$${env.HOME}"}}]`, nil, []string{"are variables of native files"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := converted(t, test.format, test.text, test.given)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("got\n%s\nwithout\n%s", got, want)
				}
			}
		})
	}
}
