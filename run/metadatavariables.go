package run

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// page is where Woodpecker's server shows a pipeline; "": the metadata does not say.
func (w *woodpeckerMetadata) page(p *woodpeckerPipeline) string {
	if w.Sys.URL == "" || p.Number == 0 {
		return ""
	}
	return fmt.Sprintf("%s/repos/%d/pipeline/%d", w.Sys.URL, w.Repo.ID, p.Number)
}

// variables are those of Woodpecker's that follow from the metadata alone. Empty ones are not set,
// as on the server.
func (w *woodpeckerMetadata) variables() map[string]string {
	c := w.Curr
	v := map[string]string{
		"CI_SYSTEM_URL": w.Sys.URL, "CI_FORGE_URL": w.Forge.URL, "CI_FORGE_TYPE": w.Forge.Type, "CI_REPO_REMOTE_ID": w.Repo.RemoteID,
		"CI_PIPELINE_EVENT_REASON": strings.Join(c.EventReason, ","), "CI_PIPELINE_DEPLOY_TASK": c.DeployTask, "CI_COMMIT_REFSPEC": c.Commit.Refspec,
	}
	if c.Reruns > 0 {
		v["CI_PIPELINE_RERUNS"] = strconv.FormatInt(c.Reruns, 10)
	}
	if w.Workflow.Number > 0 {
		v["CI_WORKFLOW_NUMBER"] = strconv.Itoa(w.Workflow.Number)
	}
	switch {
	case c.Event == "release":
		early := strconv.FormatBool(c.Release.IsPrerelease)
		v["CI_PIPELINE_RELEASE_TITLE"], v["CI_PIPELINE_RELEASE_PRE"], v["CI_COMMIT_PRERELEASE"] = c.Release.Title, early, early
	case kindOf(c.Event) == aboutPullRequest:
		v["CI_COMMIT_PULL_REQUEST_LABELS"], v["CI_COMMIT_PULL_REQUEST_MILESTONE"] = strings.Join(c.Commit.Labels, ","), c.Commit.Milestone
		v["CI_COMMIT_PULL_REQUEST_DRAFT"] = strconv.FormatBool(c.Commit.Draft)
	}
	if w.Prev != nil {
		maps.Copy(v, w.previous(w.Prev))
	}
	maps.DeleteFunc(v, func(_, text string) bool { return text == "" })
	return v
}

// previous are the variables of the pipeline before.
func (w *woodpeckerMetadata) previous(p *woodpeckerPipeline) map[string]string {
	v := map[string]string{
		"CI_PREV_PIPELINE_EVENT": p.Event, "CI_PREV_PIPELINE_EVENT_REASON": strings.Join(p.EventReason, ","), "CI_PREV_PIPELINE_STATUS": p.Status,
		"CI_PREV_PIPELINE_URL": w.page(p), "CI_PREV_PIPELINE_FORGE_URL": p.ForgeURL, "CI_PREV_COMMIT_URL": p.ForgeURL,
		"CI_PREV_PIPELINE_DEPLOY_TARGET": p.Deploy, "CI_PREV_PIPELINE_DEPLOY_TASK": p.DeployTask,
		"CI_PREV_PIPELINE_AUTHOR": p.Author, "CI_PREV_PIPELINE_AVATAR": p.Avatar, "CI_PREV_COMMIT_AUTHOR_AVATAR": p.Avatar,
		"CI_PREV_COMMIT_SHA": p.Commit.SHA, "CI_PREV_COMMIT_REF": p.Commit.Ref, "CI_PREV_COMMIT_REFSPEC": p.Commit.Refspec, "CI_PREV_COMMIT_MESSAGE": p.Commit.Message,
		"CI_PREV_COMMIT_BRANCH": p.Commit.Branch, "CI_PREV_COMMIT_AUTHOR": p.Commit.Author.Name, "CI_PREV_COMMIT_AUTHOR_EMAIL": p.Commit.Author.Email,
	}
	for name, number := range map[string]int64{
		"CI_PREV_PIPELINE_NUMBER": p.Number, "CI_PREV_PIPELINE_PARENT": p.Parent, "CI_PREV_PIPELINE_CREATED": p.Created, "CI_PREV_PIPELINE_STARTED": p.Started,
		"CI_PREV_PIPELINE_FINISHED": p.Finished, "CI_PREV_COMMIT_TIMESTAMP": p.Commit.Timestamp,
	} {
		v[name] = strconv.FormatInt(number, 10)
	}
	if source, target, found := strings.Cut(p.Commit.Refspec, ":"); found && kindOf(p.Event) == aboutPullRequest {
		v["CI_PREV_COMMIT_SOURCE_BRANCH"], v["CI_PREV_COMMIT_TARGET_BRANCH"] = source, target
	}
	return v
}
