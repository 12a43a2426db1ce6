package drone_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome is how the steps of a stage ended, and it.
func outcome(s *servertest.Stage) string {
	var parts []string
	for _, step := range s.Steps {
		text := step.Name + "=" + step.Status
		if step.ExitCode != 0 {
			text += fmt.Sprintf("(%d)", step.ExitCode)
		}
		parts = append(parts, text)
	}
	return strings.Join(append(parts, s.Status), " ")
}

func encrypted(t *testing.T, text string) string {
	t.Helper()
	block, err := aes.NewCipher([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	return base64.StdEncoding.EncodeToString(gcm.Seal(nonce, nonce, []byte(text), nil))
}

// Every case is a file, with how its steps end and what they print.
func TestPipelines(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) {
		o.Capacity = 2
		o.Secrets, o.Environ = map[string]string{"static": "of the runner"}, []string{"RUNNER=yes"}
	})
	for _, c := range []struct {
		name, config, want string
		prints             map[string]string // parts of what steps print
		error              string            // part of the stage's
		change             func(*servertest.Stage)
	}{
		{name: "success", config: steps(`a: commands: [pwd, "echo $DRONE_STEP_NAME $DRONE_STEP_NUMBER $DRONE_STAGE_MACHINE $DRONE_BUILD_STATUS $PARAM $RUNNER ${DRONE_COMMIT_SHA:0:7}"]`),
			want: "clone=success a=success success", prints: map[string]string{"a": "+ pwd\n/drone/src\n+ echo $DRONE_STEP_NAME $DRONE_STEP_NUMBER $DRONE_STAGE_MACHINE $DRONE_BUILD_STATUS $PARAM $RUNNER 0123456\na 2 bench success given yes 0123456\n"}},
		{name: "exit 7", config: steps("a: commands: [exit 7]", "b: commands: [echo]", `c: commands: ["echo $DRONE_BUILD_STATUS $DRONE_FAILED_STEPS"], when: {status: [failure]}`),
			want: "clone=success a=failure(7) b=skipped c=success failure", prints: map[string]string{"c": "failure a\n"}},
		{name: "exit 78", config: steps("a: commands: [exit 78]", "b: commands: [echo]", "c: commands: [echo], when: {status: [failure, success]}"),
			want: "clone=success a=success(78) b=skipped c=skipped success"},
		{name: "ignored", config: steps("a: commands: [exit 7], failure: ignore", "b: commands: [echo]"), want: "clone=success a=failure(7) b=success success"},
		{name: "conditions", config: steps("a: commands: [echo]", "never: commands: [exit 1], when: {branch: other}", "c: commands: [echo], when: {event: push, ref: refs/heads/*}"),
			want: "clone=success a=success c=success success"},
		{name: "diamond", config: steps("a: commands: [': > a']", "b: commands: ['test -e a', ': > b'], depends_on: [a]", "c: commands: ['test -e a', ': > c'], depends_on: [a]", "d: commands: ['ls | xargs echo'], depends_on: [b, c]"),
			want: "clone=success a=success b=success c=success d=success success", prints: map[string]string{"d": "a b c\n"}},
		{name: "secrets", config: steps(`a: environment: {A: {from_secret: a}, F: {from_secret: in file}, R: {from_secret: static}, N: {from_secret: nobody}}, commands: ['echo "A $A F $F R $R N $${N-unset}"', "printf 'hor'; sleep 0.2; echo 'se-battery'", 'echo "$A" | tail -n 1']`) +
			"---\nkind: secret\nname: in file\ndata: " + encrypted(t, "encrypted value") + "\n",
			change: func(s *servertest.Stage) {
				s.Secrets = map[string]string{"a": "horse-battery\nsecond line of it"}
			},
			want: "clone=success a=success success", prints: map[string]string{"a": "F *** R *** N \n"}},
		{name: "settings", config: steps(`plugin: entrypoint: [/bin/sh, -c, 'env | grep ^PLUGIN | sort'], settings: {list: [1, two], map: {a: [true, null]}, yes: yes, float: 1.5, secret: {from_secret: nobody}}`),
			want: "clone=success plugin=success success", prints: map[string]string{"plugin": "PLUGIN_FLOAT=1.5\nPLUGIN_LIST=1,two\nPLUGIN_MAP={\"a\":[true,null]}\nPLUGIN_SECRET=\nPLUGIN_YES=true\n"}},
		{name: "service", config: steps("a: commands: ['i=0; until wget -qO- http://web:8765/ >/dev/null 2>&1 || wget -qO- http://web:8765/hello 2>&1; do sleep 0.1; done']") +
			"services:\n- {name: web, image: 'oci:busybox', commands: ['mkdir -p /www; echo served > /www/hello; exec httpd -f -p 8765 -h /www']}\n",
			want: "clone=success web=success a=success success", prints: map[string]string{"a": "served\n"}},
		{name: "detached", config: steps("server: detach: true, commands: ['until test -e begun; do sleep 0.05; done; : > up', exit 3]", "a: commands: [': > begun', 'until test -e up; do sleep 0.05; done', sleep 0.5]"), want: "clone=success server=failure(3) a=success failure"},
		{name: "detached, ignored", config: steps("server: detach: true, failure: ignore, commands: ['until test -e begun; do sleep 0.05; done; : > up', exit 3]", "a: commands: [': > begun', 'until test -e up; do sleep 0.05; done', sleep 0.5]"), want: "clone=success server=failure(3) a=success success"},
		{name: "detached, with 0", config: steps("server: detach: true, commands: [': > up']", "a: commands: ['until test -e up; do sleep 0.05; done']"), want: "clone=success server=success a=success success"},
		{name: "service that dies", config: steps("a: commands: [': > begun', 'until test -e up; do sleep 0.05; done', sleep 0.5]") +
			"services:\n- {name: db, image: 'oci:busybox', commands: ['until test -e begun; do sleep 0.05; done; : > up', exit 3]}\n", want: "clone=success db=failure(3) a=success failure"},
		{name: "service with conditions that dies", config: steps("a: commands: [': > begun', 'until test -e up; do sleep 0.05; done', sleep 0.5]") +
			"services:\n- {name: db, image: 'oci:busybox', commands: ['until test -e begun; do sleep 0.05; done; : > up', exit 3], when: {event: push}}\n", want: "clone=success db=failure(3) a=success failure"},
		{name: "service that dies, ignored", config: steps("a: commands: [': > begun', 'until test -e up; do sleep 0.05; done', sleep 0.5]") +
			"services:\n- {name: db, image: 'oci:busybox', failure: ignore, commands: ['until test -e begun; do sleep 0.05; done; : > up', exit 3]}\n", want: "clone=success db=failure(3) a=success success"},
		{name: "no image", config: steps("a: image: 'oci:nowhere', commands: [echo]", "b: commands: [echo]"), want: "clone=success a=error(255) b=skipped error", error: "a: "},
		{name: "no program", config: steps("a: entrypoint: [/no/such], commands: []", "b: commands: [echo]"), want: "clone=success a=error(255) b=skipped error"},
		{name: "untrusted", config: steps("a: commands: [echo], privileged: true"), want: "error", error: ".drone.yml:3:53: steps[0].privileged: linter: untrusted repositories cannot enable privileged mode",
			change: func(s *servertest.Stage) { s.Repo["trusted"] = false }},
		{name: "not YAML", config: "kind: [", want: "error", error: ".drone.yml:"},
		{name: "another stage", config: steps("a: commands: [exit 1]") + "---\nkind: pipeline\nname: second\nclone: {disable: true}\nworkspace: {base: /go, path: src/x}\nsteps: [{name: b, image: 'oci:busybox', commands: [pwd, 'echo $DRONE_BUILD_STATUS $DRONE_FAILED_STAGES', ': > ../up', 'ls /go/src']}]\n",
			want: "b=success success", prints: map[string]string{"b": "/go/src/x\n+ echo $DRONE_BUILD_STATUS $DRONE_FAILED_STAGES\nfailure default\n+ : > ../up\n+ ls /go/src\nup\nx\n"},
			change: func(s *servertest.Stage) {
				s.Name, s.Number, s.DependsOn = "second", 2, []string{"default"}
				s.Build["stages"] = []any{map[string]any{"id": 9999, "name": "default", "status": "failure"}}
			}},
		{name: "warnings", config: steps("a: commands: [echo], ports: [80]"), want: "clone=success a=success success",
			prints: map[string]string{"clone": "stepexec: warning: .drone.yml:3:53: steps[0].ports: has no effect"}},
		{name: "reads its input", config: steps("a: commands: [cat, echo after]"), want: "clone=success a=success success", prints: map[string]string{"a": "+ echo after\nafter\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := b.server.Ended(b.server.Push(c.config, c.change))
			if got := outcome(s); got != c.want {
				t.Errorf("%s, not %s (%s)", got, c.want, s.Error)
			}
			if !strings.Contains(s.Error, c.error) || c.error == "" && s.Error != "" && s.Status != "error" {
				t.Errorf("the stage's error is %q", s.Error)
			}
			for name, want := range c.prints {
				if got := s.Step(name).Text(); !strings.Contains(got, want) {
					t.Errorf("%s printed\n%s\nnot\n%s", name, got, want)
				}
			}
			if log := s.Step("a").Text(); strings.Contains(log, "horse-battery") || strings.Contains(log, "second line") || strings.Contains(log, "encrypted value") {
				t.Errorf("secrets are shown: %s", log)
			}
		})
	}
}

func TestRunnerTellsWhyItCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*drone.Options)
		want   string
	}{
		"no server":  {func(o *drone.Options) { o.Server = "" }, "DRONE_RPC_HOST"},
		"no secret":  {func(o *drone.Options) { o.Secret = "" }, "set DRONE_RPC_SECRET"},
		"bad secret": {func(o *drone.Options) { o.Secret = "guess" }, "check DRONE_RPC_SECRET"},
		"capacity":   {func(o *drone.Options) { o.Capacity = 0 }, "DRONE_RUNNER_CAPACITY"},
		"health":     {func(o *drone.Options) { o.HealthAddress = "127.0.0.1:99999" }, "listen for health checks"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if err := b.start(c.change).Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestRunnerRefusesWhatItIsNotFor(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) {
		o.Repos, o.Events, o.TrustedOnly, o.Labels = []string{"example/*"}, []string{"push"}, true, map[string]string{"gpu": "yes"}
	})
	push := func(change func(*servertest.Stage)) int64 {
		return b.server.Push(steps("a: commands: [echo]"), func(s *servertest.Stage) {
			s.Wanted = map[string]string{"gpu": "yes"}
			change(s)
		})
	}
	other := push(func(s *servertest.Stage) { s.Wanted = nil })
	for want, id := range map[string]int64{
		"error: this runner is not for repository other/app":                      push(func(s *servertest.Stage) { s.Repo["slug"] = "other/app" }),
		"error: this runner is not for event tag":                                 push(func(s *servertest.Stage) { s.Build["event"] = "tag" }),
		"error: this runner is for trusted repositories, and example/app is none": push(func(s *servertest.Stage) { s.Repo["trusted"] = false }),
		"success": push(func(*servertest.Stage) {}),
	} {
		s := b.server.Ended(id)
		if got := strings.TrimSuffix(s.Status+": "+strings.TrimPrefix(s.Error, "insufficient permission to run the pipeline: "), ": "); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	if b.server.Get(other).Machine != "" {
		t.Error("the runner took what has other labels")
	}
}
