package woodpecker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

func TestAgentRunsAWorkflow(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "woodpecker", "agent.conf")
	a := b.start(func(o *woodpecker.Options) { o.AgentFile, o.MaxWorkflows = file, 2 })
	config := workflow(serial(
		with(step("clone", "echo hello >file"), func(s *workflows.Step) { s.Type = workflows.TypeClone }),
		step("test", "cat file", "pwd", "echo $CI_STEP_NAME $CI_STEP_TYPE $CI_MACHINE $CI_PIPELINE_STATUS"),
	)...)
	w := b.server.Ended(b.server.Push(config, 0, nil))
	if got := outcome(w.Step("clone")) + outcome(w.Step("test")); got != "successsuccess" || w.Done.GetError() != "" || w.Done.GetCanceled() {
		t.Errorf("%s, %v", got, w.Done)
	}
	want := "+ cat file\nhello\n+ pwd\n/woodpecker/src\n+ echo $CI_STEP_NAME $CI_STEP_TYPE $CI_MACHINE $CI_PIPELINE_STATUS\ntest commands bench success"
	if got := strings.Join(w.Step("test").Lines, "\n"); got != want {
		t.Errorf("the log is\n%s\nnot\n%s", got, want)
	}
	a.Stop()
	if err := a.Err(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(data)) != `{"agent_id":1}` {
		t.Errorf("agent file: %q, %v", data, err)
	}
	agents := b.server.Agents()
	if len(agents) != 1 || agents[1].Info.GetCapacity() != 2 || agents[1].Alive == 0 || agents[1].Unregistered {
		t.Errorf("%+v", agents)
	}
	b.server.NoPolls()
	again := b.start(func(o *woodpecker.Options) { o.AgentFile = file })
	b.server.Ended(b.server.Push(workflow(serial(step("one", "true"))...), 0, nil))
	again.Stop()
	if err := again.Err(); err != nil || len(b.server.Agents()) != 1 {
		t.Errorf("%v, %d agents", err, len(b.server.Agents()))
	}
}

func TestAgentWithoutFileUnregisters(t *testing.T) {
	b := newBench(t)
	a := b.start(func(o *woodpecker.Options) { o.SingleWorkflow = true })
	b.server.Ended(b.server.Push(workflow(serial(step("one", "true"))...), 0, nil))
	if err := a.Err(); err != nil || !b.server.Agents()[1].Unregistered {
		t.Errorf("%v, %+v", err, b.server.Agents()[1])
	}
}

func TestAgentTellsWhyItCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*woodpecker.Options)
		want   string
	}{
		"no server":  {func(o *woodpecker.Options) { o.Server = "" }, "WOODPECKER_SERVER"},
		"a scheme":   {func(o *woodpecker.Options) { o.Server = "http://ci.example.com" }, "without a scheme"},
		"no port":    {func(o *woodpecker.Options) { o.Server = "ci.example.com" }, "must be HOST:PORT"},
		"no secret":  {func(o *woodpecker.Options) { o.Secret = "" }, "WOODPECKER_AGENT_SECRET"},
		"bad secret": {func(o *woodpecker.Options) { o.Secret = "guess" }, "is WOODPECKER_AGENT_SECRET that of the server?"},
		"health":     {func(o *woodpecker.Options) { o.HealthAddress = "127.0.0.1:99999" }, "listen for health checks"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if err := b.start(c.change).Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAgentTakesOnlyWhatItsLabelsAllow(t *testing.T) {
	b := newBench(t)
	b.start(func(o *woodpecker.Options) { o.Labels = map[string]string{"gpu": "yes", "repo": "octocat/*"} })
	other := b.server.Push(workflow(serial(step("one", "true"))...), 0, map[string]string{"gpu": "no"})
	mine := b.server.Push(workflow(serial(step("one", "true"))...), 0, map[string]string{"gpu": "yes"})
	b.server.Ended(mine)
	b.server.Until("nothing", func() bool {
		if b.server.Get(other).Step("one").Running {
			t.Error("a workflow for others is run")
		}
		return true
	})
}

func TestForgottenAgentRegistersAnew(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "agent.conf")
	if err := os.WriteFile(file, []byte(`{"agent_id":77}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(func(o *woodpecker.Options) { o.AgentFile = file })
	b.server.Ended(b.server.Push(workflow(serial(step("one", "true"))...), 0, nil))
	if data, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(data)) != `{"agent_id":1}` {
		t.Errorf("agent file: %q, %v", data, err)
	}
}

func TestSecretsNeverReachTheServer(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	const secret, multi, netrc = "correct-horse", "first line of it\n{\nlast line of it", "hunter2-netrc"
	config := workflow(serial(with(step("leak",
		`echo "a $TOKEN b"`, `printf %s correct-; printf '%s\n' horse`, `echo "$TOKEN" | base64`, `echo "$MULTI"`, `cat ~/.netrc`, `echo {`, `echo "[$CI_NETRC_PASSWORD]"`,
		`/bin/nope-$TOKEN`),
		func(s *workflows.Step) {
			s.Environment["TOKEN"], s.Environment["MULTI"] = secret, multi
			s.Environment["CI_NETRC_MACHINE"], s.Environment["CI_NETRC_USERNAME"], s.Environment["CI_NETRC_PASSWORD"] = "git.example", "bot", netrc
			s.SecretMapping = map[string]string{"TOKEN": secret}
		}))...)
	config.Secrets = []workflows.Secret{{Name: "multi", Value: multi}, {Name: "empty"}}
	w := b.server.Ended(b.server.Push(config, 0, nil))
	log := strings.Join(w.Step("leak").Lines, "\n") + w.Step("leak").End.GetError() + w.Done.GetError()
	for _, text := range []string{secret, "Y29ycmVjdC1ob3JzZ", "line of it", netrc} {
		if strings.Contains(log, text) {
			t.Errorf("the log has %q:\n%s", text, log)
		}
	}
	for _, text := range []string{"a *** b", "machine git.example", "\n{\n", "\n[]\n"} {
		if !strings.Contains(log, text) {
			t.Errorf("the log lacks %q:\n%s", text, log)
		}
	}
	if outcome(w.Step("leak")) != "failure" || w.Step("leak").End.GetExitCode() != 127 {
		t.Errorf("%v", w.Step("leak").End)
	}
}
