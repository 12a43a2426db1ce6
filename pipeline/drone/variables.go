package drone

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/pipeline"
)

// values are the variables that both steps and the text of the file see.
func values(o *Options, stage *Stage) map[string]string {
	v := map[string]string{}
	for _, entry := range o.Environ {
		name, text, _ := strings.Cut(entry, "=")
		v[name] = text
	}
	maps.Copy(v, o.Build.Variables)
	maps.Copy(v, o.Params)
	maps.Copy(v, proxyValues(o))
	maps.Copy(v, serverValues(o, stage))
	maps.DeleteFunc(v, func(_, text string) bool { return text == "" })
	return v
}

func proxyValues(o *Options) map[string]string {
	v := map[string]string{}
	for _, entry := range o.Proxies {
		name, text, _ := strings.Cut(entry, "=")
		v[name] = text
	}
	return v
}

// serverValues are the variables that the server makes, without those that people give to a
// build or to all steps. An empty one is not set.
func serverValues(o *Options, stage *Stage) map[string]string {
	v := map[string]string{"CI": "true", "DRONE": "true"}
	b := &o.Build
	systemValues(v, b)
	repositoryValues(v, b)
	buildValues(v, b)
	commitValues(v, b)
	if b.Tag != "" {
		maps.Copy(v, tagValues(b.Tag))
	}
	stageValues(v, stage)
	return v
}

// fixedValues are the variables that all builds of a pipeline have in common.
func fixedValues(o *Options, t *translation) map[string]string {
	known := serverValues(o, &t.stage)
	fixed := map[string]string{"DRONE": "true", "DRONE_WORKSPACE": t.fullPath, "DRONE_WORKSPACE_BASE": t.base, "DRONE_WORKSPACE_PATH": t.path}
	for _, name := range []string{
		"DRONE_REPO", "DRONE_REPO_OWNER", "DRONE_REPO_NAMESPACE", "DRONE_REPO_NAME", "DRONE_REPO_LINK", "DRONE_REPO_BRANCH",
		"DRONE_REMOTE_URL", "DRONE_GIT_HTTP_URL", "DRONE_GIT_SSH_URL", "CI_REPO", "CI_REPO_NAME", "CI_REPO_LINK", "CI_REPO_REMOTE", "CI_REMOTE_URL",
		"DRONE_STAGE_NAME", "DRONE_STAGE_KIND", "DRONE_STAGE_TYPE", "DRONE_STAGE_OS", "DRONE_STAGE_ARCH",
	} {
		if known[name] != "" {
			fixed[name] = known[name]
		}
	}
	maps.Copy(fixed, o.Params)
	return fixed
}

func systemValues(v map[string]string, b *pipeline.Build) {
	v["DRONE_SYSTEM_PROTO"], v["DRONE_SYSTEM_HOST"] = b.System.Proto, b.System.Host
	v["DRONE_SYSTEM_HOSTNAME"], v["DRONE_SYSTEM_VERSION"] = b.System.Host, b.System.Version
}

func repositoryValues(v map[string]string, b *pipeline.Build) {
	r := &b.Repository
	full := strings.TrimPrefix(r.Owner+"/"+r.Name, "/")
	visibility := "public"
	if r.Private {
		visibility = "private"
	}
	v["DRONE_REPO"], v["DRONE_REPO_SCM"] = full, ""
	v["DRONE_REPO_OWNER"], v["DRONE_REPO_NAMESPACE"], v["DRONE_REPO_NAME"] = r.Owner, r.Owner, r.Name
	v["DRONE_REPO_LINK"], v["DRONE_REPO_BRANCH"] = r.Link, r.DefaultBranch
	v["DRONE_REPO_VISIBILITY"], v["DRONE_REPO_PRIVATE"] = visibility, strconv.FormatBool(r.Private)
	v["DRONE_REMOTE_URL"], v["DRONE_GIT_HTTP_URL"], v["DRONE_GIT_SSH_URL"] = r.CloneURL, r.CloneURL, r.SSHURL
	v["CI_REPO"], v["CI_REPO_NAME"], v["CI_REPO_LINK"] = full, full, r.Link
	v["CI_REPO_REMOTE"], v["CI_REPO_PRIVATE"], v["CI_REMOTE_URL"] = r.CloneURL, strconv.FormatBool(r.Private), r.CloneURL
}

func buildValues(v map[string]string, b *pipeline.Build) {
	number, started := strconv.FormatInt(b.Number, 10), unix(b.Started)
	v["DRONE_BUILD_NUMBER"], v["DRONE_BUILD_PARENT"] = number, positive(b.Parent)
	v["DRONE_BUILD_EVENT"], v["DRONE_BUILD_ACTION"], v["DRONE_BUILD_TRIGGER"] = b.Event, b.Action, b.Sender
	v["DRONE_BUILD_CREATED"], v["DRONE_BUILD_STARTED"], v["DRONE_BUILD_FINISHED"] = unix(b.Created), started, started
	v["DRONE_BUILD_LINK"], v["DRONE_BUILD_STATUS"], v["DRONE_BUILD_DEBUG"] = b.Link, "success", "false"
	v["DRONE_DEPLOY_TO"], v["DRONE_CRON"] = b.Deploy, b.Cron
	v["DRONE_PULL_REQUEST_TITLE"] = b.PullRequestTitle
	v["DRONE_PULL_REQUEST"] = cmp.Or(positive(b.PullRequest), pullRequestOf(b.Ref))
	v["CI_BUILD_NUMBER"], v["CI_BUILD_EVENT"], v["CI_BUILD_LINK"] = number, b.Event, b.Link
	v["CI_BUILD_CREATED"], v["CI_BUILD_STARTED"], v["CI_BUILD_FINISHED"] = unix(b.Created), started, started
	v["CI_BUILD_STATUS"], v["CI_BUILD_TARGET"], v["CI_PARENT_BUILD_NUMBER"] = "success", b.Deploy, positive(b.Parent)
}

func commitValues(v map[string]string, b *pipeline.Build) {
	source, target := cmp.Or(b.SourceBranch, b.Branch), cmp.Or(b.TargetBranch, b.Branch)
	v["DRONE_BRANCH"], v["DRONE_SOURCE_BRANCH"], v["DRONE_TARGET_BRANCH"] = target, source, target
	v["DRONE_COMMIT"], v["DRONE_COMMIT_SHA"], v["DRONE_COMMIT_AFTER"] = b.Commit, b.Commit, b.Commit
	v["DRONE_COMMIT_BEFORE"], v["DRONE_COMMIT_REF"], v["DRONE_COMMIT_BRANCH"] = b.Before, b.Ref, target
	v["DRONE_COMMIT_LINK"], v["DRONE_COMMIT_MESSAGE"] = cmp.Or(b.CommitLink, b.Link), b.Message
	a := &b.Author
	v["DRONE_COMMIT_AUTHOR"], v["DRONE_COMMIT_AUTHOR_NAME"] = a.Login, a.Name
	v["DRONE_COMMIT_AUTHOR_EMAIL"], v["DRONE_COMMIT_AUTHOR_AVATAR"] = a.Email, a.Avatar
	v["CI_COMMIT_SHA"], v["CI_COMMIT_REF"], v["CI_COMMIT_BRANCH"] = b.Commit, b.Ref, target
	v["CI_COMMIT_LINK"], v["CI_COMMIT_MESSAGE"] = v["DRONE_COMMIT_LINK"], b.Message
	v["CI_COMMIT_AUTHOR"], v["CI_COMMIT_AUTHOR_NAME"] = a.Login, a.Name
	v["CI_COMMIT_AUTHOR_EMAIL"], v["CI_COMMIT_AUTHOR_AVATAR"] = a.Email, a.Avatar
}

func stageValues(v map[string]string, s *Stage) {
	v["DRONE_STAGE_KIND"], v["DRONE_STAGE_TYPE"], v["DRONE_STAGE_NAME"] = cmp.Or(s.Kind, "pipeline"), cmp.Or(s.Type, "docker"), s.Name
	v["DRONE_STAGE_NUMBER"], v["DRONE_STAGE_MACHINE"] = strconv.Itoa(cmp.Or(s.Number, 1)), s.Machine
	v["DRONE_STAGE_OS"], v["DRONE_STAGE_ARCH"] = cmp.Or(s.OS, "linux"), s.Arch
	v["DRONE_STAGE_VARIANT"], v["DRONE_STAGE_VERSION"] = s.Variant, s.Version
	v["DRONE_STAGE_STARTED"], v["DRONE_STAGE_FINISHED"] = positive(s.Started), positive(s.Started)
	v["DRONE_STAGE_STATUS"], v["DRONE_STAGE_DEPENDS_ON"] = "success", strings.Join(s.DependsOn, ",")
}

// stepVariables returns what steps are given beside what the file says. What they are
// told of the run is as it is when they start.
func stepVariables(o *Options, p *translation) func(step string) []pipeline.Variable {
	common, server := values(o, &p.stage), serverValues(o, &p.stage)
	git := map[string]string{
		"GIT_AUTHOR_NAME": cmp.Or(o.Build.Author.Name, o.Build.Author.Login, "drone"), "GIT_AUTHOR_EMAIL": cmp.Or(o.Build.Author.Email, "noreply@drone"),
		"GIT_TERMINAL_PROMPT": "0", "DRONE_CARD_PATH": "/dev/stdout",
		"DRONE_WORKSPACE": p.fullPath, "DRONE_WORKSPACE_BASE": p.base, "DRONE_WORKSPACE_PATH": p.path,
	}
	git["GIT_COMMITTER_NAME"], git["GIT_COMMITTER_EMAIL"] = git["GIT_AUTHOR_NAME"], git["GIT_AUTHOR_EMAIL"]
	maps.Copy(common, git)
	maps.Copy(server, git)
	facts := map[string]pipeline.RunFact{
		"DRONE_BUILD_STATUS": pipeline.RunStatus, "DRONE_STAGE_STATUS": pipeline.RunStatus, "CI_BUILD_STATUS": pipeline.RunStatus,
		"DRONE_FAILED_STEPS": pipeline.RunFailedSteps,
	}
	onlyAfterFailure := o.Stage == nil && p.workflow.RunOn == pipeline.RunOn{Failure: true}
	if len(o.FailedStages) > 0 || onlyAfterFailure {
		for _, name := range []string{"DRONE_BUILD_STATUS", "CI_BUILD_STATUS"} {
			delete(facts, name)
			common[name], server[name] = "failure", "failure"
		}
		common["DRONE_FAILED_STAGES"] = strings.Join(o.FailedStages, ",")
		server["DRONE_FAILED_STAGES"] = common["DRONE_FAILED_STAGES"]
	}
	numbers := map[string]int{}
	for i, s := range ReportedSteps(p.out, o.Build.Facts) {
		numbers[s.Name] = i + 1
	}
	return func(step string) []pipeline.Variable {
		own := maps.Clone(common)
		if p.plugins[step] {
			own = maps.Clone(server)
			maps.DeleteFunc(own, func(name, _ string) bool { return !isForPlugin(name) })
			maps.Copy(own, proxyValues(o))
		}
		own["DRONE_STEP_NAME"], own["DRONE_STEP_NUMBER"] = step, positive(int64(numbers[step]))
		var variables []pipeline.Variable
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if own[name] != "" && facts[name] == "" {
				variables = append(variables, pipeline.Variable{Name: name, Value: pipeline.Value{Text: own[name]}})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(facts)) {
			variables = append(variables, pipeline.Variable{Name: name, Value: pipeline.Value{FromRun: facts[name]}})
		}
		return append(variables, p.netrcVariables(step)...)
	}
}

func unix(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

func positive(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// pullRequestOf is the number in refs/pull/42/head and refs/merge-requests/42/head.
func pullRequestOf(ref string) string {
	for _, prefix := range []string{"refs/pull/", "refs/pull-requests/", "refs/merge-requests/"} {
		if rest, found := strings.CutPrefix(ref, prefix); found {
			return strings.Split(path.Clean(rest), "/")[0]
		}
	}
	return ""
}
