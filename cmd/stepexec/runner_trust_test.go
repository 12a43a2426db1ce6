package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

// Without a policy of the administrator's, a Drone server's own word decides what a repository
// may have.
func TestRunnerDroneGoesByTheServersTrust(t *testing.T) {
	d := newDroneRunner(t)
	plugin := strings.Split(d.open, ":")[0] + ":" + strings.Split(d.open, ":")[1] // the repository, without its tag
	d.start([]string{"--network", "none"}, "DRONE_RUNNER_PRIVILEGED_IMAGES="+plugin)
	const head = "kind: pipeline\nclone: {disable: true}\n"
	for what, c := range map[string]struct {
		config  string
		trusted bool
		want    string // of status and error
	}{
		"an untrusted step":              {head + "steps: [{name: a, image: $IMAGE, commands:  [\"grep -q 'CapEff:.*0a[08]0425fb' /proc/self/status\"]}]\n", false, "success"},
		"an untrusted privileged step":   {head + "steps: [{name: a, image: $IMAGE, privileged: true, commands: [echo]}]\n", false, "untrusted repositories cannot enable privileged mode"},
		"a trusted privileged step":      {head + "steps: [{name: a, image: $IMAGE, privileged: true,  commands: [\"! grep -q 'CapEff:.*0a[08]0425fb' /proc/self/status\"]}]\n", true, "success"},
		"a trusted host volume":          {head + "volumes: [{name: etc, host: {path: /etc}}]\nsteps: [{name: a, image: $IMAGE, volumes: [{name: etc, path: /m}], commands: [test -e /m/passwd]}]\n", true, "success"},
		"a plugin that is privileged":    {head + "steps: [{name: a, image: $IMAGE, settings: {x: y}}]\n", false, "success"},
		"a plugin with LD_PRELOAD":       {head + "steps: [{name: a, image: $IMAGE, environment: {LD_PRELOAD: /drone/src/evil.so, BASH_ENV: /drone/src/evil}}]\n", false, "success"},
		"a plugin with a workspace of /": {head + "workspace: {path: /usr/local}\nsteps: [{name: a, image: $IMAGE, commands: [\"grep -q 'CapEff:.*0a[08]0425fb' /proc/self/status\"]}]\n", false, "success"},
	} {
		s := d.server.Ended(d.push(c.config, func(s *servertest.Stage) { s.Repo["trusted"] = c.trusted }))
		if got := s.Status + " " + s.Error; !strings.Contains(got, c.want) {
			t.Errorf("%s: %s %q", what, got, s.Step("a").Text())
		}
	}
}

// A Woodpecker server vouches for the keys of a workflow, and for no option of stepexec: those
// are the administrator's to allow.
func TestRunnerWoodpeckerGoesByTheServersTrust(t *testing.T) {
	options := func(o map[string]any) func(*workflows.Step) {
		return func(s *workflows.Step) { s.BackendOptions = map[string]any{"stepexec": o} }
	}
	plugin := func(s *workflows.Step) { s.Privileged, s.Type, s.Commands = true, workflows.TypePlugin, nil }
	both := func(a, b func(*workflows.Step)) func(*workflows.Step) {
		return func(s *workflows.Step) { a(s); b(s) }
	}
	cases := map[string]struct {
		change  func(*workflows.Step)
		want    string // of the error without a policy; "": none
		trusted string // of the error under the policy trusted
	}{
		"nothing":                       {func(*workflows.Step) {}, "", ""},
		"limits":                        {options(map[string]any{"memory": "64MiB", "pids": 50}), "", ""},
		"all capabilities":              {options(map[string]any{"cap_add": []string{"ALL"}, "seccomp": "unconfined"}), "Insufficient trust level to use `cap_add`", ""},
		"no seccomp":                    {options(map[string]any{"seccomp": "unconfined"}), "Insufficient trust level to use `seccomp`", ""},
		"new privileges":                {options(map[string]any{"allow_new_privileges": true}), "", ""},
		"a cache":                       {options(map[string]any{"cache": []string{"shared:/cache"}}), "Insufficient trust level to use `cache`", ""},
		"a volume that the server took": {func(s *workflows.Step) { s.Volumes = append(s.Volumes, "/etc:/m:ro") }, "", ""},
		"privileges that the server gave": {func(s *workflows.Step) {
			s.Privileged, s.Commands = true, []string{"! grep -q 'CapEff:.*0a[08]0425fb' /proc/self/status"}
		}, "", ""},
		"an image of the machine":     {func(s *workflows.Step) { s.Image = "rootfs:/" }, "rootfs:/", "rootfs:/"},
		"a plugin":                    {plugin, "", ""},
		"a plugin and LD_PRELOAD":     {both(plugin, func(s *workflows.Step) { s.Environment["LD_PRELOAD"] = "/woodpecker/src/evil.so" }), "", ""},
		"a plugin and an entry":       {both(plugin, func(s *workflows.Step) { s.Entrypoint = []string{"/woodpecker/src/evil"} }), "entrypoint", ""},
		"a plugin and a user":         {both(plugin, options(map[string]any{"user": "0"})), "user", ""},
		"a plugin behind a workspace": {both(plugin, func(s *workflows.Step) { s.Volumes = []string{"wp:/bin"} }), "mounts", ""},
	}
	for policy, args := range map[string][]string{"": nil, "trusted": {"--policy", "trusted"}} {
		w := newWoodpeckerRunner(t)
		w.start(args...)
		for what, c := range cases {
			if policy != "" && strings.HasPrefix(what, "a plugin and") || policy != "" && what == "a plugin behind a workspace" {
				continue // under trusted they run whatever they name
			}
			s := w.step("a", "true")
			c.change(s)
			want := c.want
			if policy == "trusted" {
				want = c.trusted
			}
			end := w.server.Ended(w.push(s)).Step("a").End
			if want == "" && (end.GetError() != "" || end.GetExitCode() != 0) || want != "" && !strings.Contains(end.GetError(), want) {
				t.Errorf("policy %q: %s: %v; want %q", policy, what, end, want)
			}
		}
	}
}

// Rules by repository go by the labels that only the server sets.
func TestRunnerWoodpeckerHasRulesByRepository(t *testing.T) {
	w := newWoodpeckerRunner(t)
	file := filepath.Join(w.dir, "policy.yml")
	rules := "networks: [none]\nrepositories: [{repos: ['octocat/*'], events: [push], branches: [main], rules: {networks: [none], mounts: [/etc]}}]\n"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start("--policy", file)
	labels := func(repo, event string) map[string]string {
		return map[string]string{workflows.LabelRepo: repo, workflows.LabelEvent: event, workflows.LabelCommitBranch: "main"}
	}
	for what, c := range map[string]struct {
		labels map[string]string
		want   string // of the error; "": none
	}{
		"its repository":        {labels("octocat/app", "push"), ""},
		"another one":           {labels("evil/app", "push"), "mounts"},
		"a pull request":        {labels("octocat/app", "pull_request"), "mounts"},
		"a server without them": {nil, "the server does not say the repository of the pipeline"},
	} {
		s := w.step("a", "test -e /m/passwd")
		s.Volumes, s.WorkflowLabels = append(s.Volumes, "/etc:/m:ro"), c.labels
		s.Environment["CI_REPO"], s.Environment["CI_PIPELINE_EVENT"], s.Environment["CI_COMMIT_BRANCH"] = "octocat/app", "push", "main"
		end := w.server.Ended(w.push(s)).Step("a").End
		if c.want == "" && (end.GetError() != "" || end.GetExitCode() != 0) || c.want != "" && !strings.Contains(end.GetError(), c.want) {
			t.Errorf("%s: %v; want %q", what, end, c.want)
		}
	}
}

// The scope of a keyed cache is what the server says in labels: no workflow with forged variables
// or labels, and no pull request, can put anything where a branch reads it.
func TestRunnerWoodpeckerKeepsKeyedCachesByTheServersLabels(t *testing.T) {
	w := newWoodpeckerRunner(t)
	file := filepath.Join(w.dir, "policy.yml")
	if err := os.WriteFile(file, []byte("networks: [none]\nkeyed_caches: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start("--policy", file)
	labels := func(repo, event, branch string) map[string]string {
		return map[string]string{workflows.LabelRepo: repo, workflows.LabelEvent: event, workflows.LabelCommitBranch: branch}
	}
	run := func(key, writes string, labels map[string]string) string {
		s := w.step("a", "cat /cache/f || echo nothing", "echo "+writes+" > /cache/f")
		s.WorkflowLabels = labels
		s.BackendOptions = map[string]any{"stepexec": map[string]any{"cache": []any{map[string]any{"name": "c", "path": "/cache", "key": []any{map[string]any{"env": "KEY"}, map[string]any{"checksum": "lock"}}}}}}
		for name, value := range map[string]string{"KEY": key, "CI_REPO": "octocat/app", "CI_PIPELINE_EVENT": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF": "refs/heads/main"} {
			s.Environment[name] = value
		}
		checkout := w.step("checkout", "echo "+key+" > lock")
		checkout.WorkflowLabels = labels
		ended := w.server.Ended(w.push(checkout, s)).Step("a")
		if ended.End.GetError() != "" || ended.End.GetExitCode() != 0 {
			t.Fatalf("%v: %v %q", labels, ended.End, ended.Lines)
		}
		if text := strings.Join(ended.Lines, "\n"); strings.Contains(text, "stepexec:") {
			t.Errorf("%v: %s", labels, text)
		}
		for _, line := range ended.Lines {
			if line == "nothing" || strings.HasPrefix(line, "of ") {
				return line
			}
		}
		return strings.Join(ended.Lines, "\n")
	}
	main := labels("octocat/app", "push", "main")
	for what, c := range map[string]struct {
		labels     map[string]string
		reads      bool // what a push to main saved
		saves      bool // what it reads itself later
		savesAtAll bool // what a push to main reads later
	}{
		"the same branch":        {main, true, true, true},
		"cron of the branch":     {labels("octocat/app", "cron", "main"), true, true, true},
		"another branch":         {labels("octocat/app", "push", "feature"), false, true, false},
		"another repository":     {labels("evil/app", "push", "main"), false, true, false},
		"a pull request for it":  {labels("octocat/app", "pull_request", "main"), true, false, false},
		"another pull request":   {labels("octocat/app", "pull_request", "feature"), false, false, false},
		"a tag":                  {labels("octocat/app", "tag", "main"), true, false, false},
		"an unknown event":       {labels("octocat/app", "new", "main"), true, false, false},
		"a push without branch":  {labels("octocat/app", "push", ""), false, false, false},
		"a server before 3.17":   {labels("octocat/app", "", ""), false, false, false},
		"a server before 3.5":    {nil, false, false, false},
		"labels of the workflow": {map[string]string{"repo": "octocat/app", "event": "push", "branch": "main"}, false, false, false},
	} {
		want := func(does bool, text string) string {
			if does {
				return text
			}
			return "nothing"
		}
		run("read "+what, "of main", main)
		if got := run("read "+what, "of other", c.labels); got != want(c.reads, "of main") {
			t.Errorf("%s: reads %q after a push to main", what, got)
		}
		run("write "+what, "of other", c.labels)
		if got := run("write "+what, "of other", c.labels); got != want(c.saves, "of other") {
			t.Errorf("%s: reads %q after itself", what, got)
		}
		if got := run("write "+what, "of main", main); got != want(c.savesAtAll, "of other") {
			t.Errorf("%s: a push to main reads %q after it", what, got)
		}
	}
}
