package woodpecker

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/pipeline"
)

// buildValues are the variables by which the text of a file and all steps know of the
// build. What is not known is not there.
func buildValues(b *pipeline.Build, workflow string) map[string]string {
	r := &b.Repository
	v := map[string]string{
		"CI": "woodpecker", "CI_SYSTEM_NAME": "woodpecker", "CI_SYSTEM_HOST": b.System.Host, "CI_SYSTEM_VERSION": b.System.Version, "CI_SYSTEM_PLATFORM": b.Platform,
		"CI_REPO": strings.TrimPrefix(r.Owner+"/"+r.Name, "/"), "CI_REPO_OWNER": r.Owner, "CI_REPO_NAME": r.Name, "CI_REPO_URL": r.Link,
		"CI_REPO_CLONE_URL": r.CloneURL, "CI_REPO_CLONE_SSH_URL": r.SSHURL, "CI_REPO_DEFAULT_BRANCH": r.DefaultBranch, "CI_REPO_PRIVATE": strconv.FormatBool(r.Private),
		"CI_PIPELINE_NUMBER": strconv.FormatInt(b.Number, 10), "CI_PIPELINE_PARENT": strconv.FormatInt(b.Parent, 10), "CI_PIPELINE_EVENT": b.Event,
		"CI_PIPELINE_URL": b.Link, "CI_PIPELINE_FORGE_URL": b.CommitLink, "CI_PIPELINE_DEPLOY_TARGET": b.Deploy,
		"CI_PIPELINE_CREATED": unixTime(b.Created), "CI_PIPELINE_STARTED": unixTime(b.Started), "CI_PIPELINE_AUTHOR": b.Sender, "CI_PIPELINE_AVATAR": b.Author.Avatar,
		"CI_WORKFLOW_NAME": workflow, "CI_WORKFLOW_NUMBER": "1",
		"CI_COMMIT_SHA": b.Commit, "CI_COMMIT_REF": b.Ref, "CI_COMMIT_MESSAGE": b.Message, "CI_COMMIT_BRANCH": b.Branch, "CI_COMMIT_TAG": b.Tag,
		"CI_COMMIT_TIMESTAMP": unixTime(b.CommitTime), "CI_COMMIT_AUTHOR": b.Author.Login, "CI_COMMIT_AUTHOR_EMAIL": b.Author.Email,
		"CI_COMMIT_AUTHOR_AVATAR": b.Author.Avatar, "CI_STEP_NUMBER": "0", "CI_STEP_URL": b.Link,
		"CI_PREV_COMMIT_SHA": b.Before,
	}
	for _, kind := range []string{"", "_NETWORK", "_VOLUMES", "_SECURITY"} {
		v["CI_REPO_TRUSTED"+kind] = strconv.FormatBool(r.Trusted)
	}
	if strings.HasPrefix(b.Event, "pull_request") {
		v["CI_COMMIT_SOURCE_BRANCH"], v["CI_COMMIT_TARGET_BRANCH"] = b.SourceBranch, b.TargetBranch
		if b.PullRequest > 0 {
			v["CI_COMMIT_PULL_REQUEST"] = strconv.FormatInt(b.PullRequest, 10)
		}
	}
	if address, kind := forgeOf(r); address != "" {
		v["CI_FORGE_URL"], v["CI_FORGE_TYPE"] = address, kind
	}
	if b.FilesKnown {
		v["CI_PIPELINE_FILES"] = filesValue(b.Files)
	}
	maps.Copy(v, b.Variables)
	maps.DeleteFunc(v, func(_, text string) bool { return text == "" })
	return v
}

// fixedValues are the variables that all builds of the repository have in common.
func (p *parser) fixedValues() map[string]string {
	fixed := maps.Clone(p.o.Params)
	if fixed == nil {
		fixed = map[string]string{}
	}
	for _, name := range []string{"CI_SYSTEM_NAME", "CI_REPO", "CI_REPO_OWNER", "CI_REPO_NAME", "CI_REPO_URL", "CI_REPO_CLONE_URL", "CI_REPO_CLONE_SSH_URL", "CI_REPO_DEFAULT_BRANCH", "CI_WORKFLOW_NAME", "CI_FORGE_URL", "CI_FORGE_TYPE"} {
		if _, given := fixed[name]; !given && p.values[name] != "" {
			fixed[name] = p.values[name]
		}
	}
	fixed["CI_WORKSPACE"] = p.out.Workspace
	return fixed
}

// forgeOf is the address of the forge that a repository's page is on, and the kind of the forge. A
// forge may be below a path: its address is what stands before the repository's name.
func forgeOf(r *pipeline.Repository) (address, kind string) {
	page, err := url.Parse(strings.TrimSuffix(r.Link, "/"))
	if err != nil || page.Host == "" {
		return "", ""
	}
	address = page.Scheme + "://" + page.Host
	full := strings.TrimPrefix(r.Owner+"/"+r.Name, "/")
	if below, found := strings.CutSuffix(page.Path, "/"+full); found && full != "" {
		address += below
	}
	return address, forgeTypes[page.Host]
}

// forgeTypes are the kinds of the well-known forges. Others do not tell what they are.
var forgeTypes = map[string]string{"github.com": "github", "gitlab.com": "gitlab", "bitbucket.org": "bitbucket", "codeberg.org": "forgejo", "gitea.com": "gitea"}

// maxFiles is how many changed files Woodpecker tells steps of.
const maxFiles = 500

func filesValue(files []string) string {
	if len(files) == 0 {
		return "[]"
	}
	data, err := json.Marshal(files)
	if err != nil || len(files) > maxFiles {
		return ""
	}
	return string(data)
}

func unixTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// stepVariables are what a server and an agent give to a step, below what the file says.
func (p *parser) stepVariables(containers map[string]*container) func(string) []pipeline.Variable {
	build := buildValues(&p.o.Build, p.out.Name)
	machine, _ := os.Hostname()
	return func(name string) []pipeline.Variable {
		c := containers[name]
		if c == nil {
			return nil
		}
		s := c.Step
		s.Environment = maps.Clone(build)
		if !c.isPlugin() {
			s.Environment = maps.Clone(p.values)
		}
		s.Environment["CI_WORKSPACE"] = path.Join(s.WorkspaceBase, p.path)
		s.Environment["CI_MACHINE"] = machine
		return variables(environment(&s))
	}
}
