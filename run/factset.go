package run

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// PullRequest is what the flags say of a pull request; zero values are open.
type PullRequest struct {
	Number              int64
	SourceBranch, Title string
}

// kinds of what an event is about.
const (
	aboutBranch      = "a branch"
	aboutTag         = "a tag"
	aboutPullRequest = "a pull request"
)

// kindOf says what the ref of an event is of. Events of other names may be about anything: "".
func kindOf(event string) string {
	switch {
	case strings.HasPrefix(event, "pull_request"):
		return aboutPullRequest
	case event == "tag", event == "release":
		return aboutTag
	case event == "push", event == "cron":
		return aboutBranch
	}
	return ""
}

// kindOfRef says what a ref is of: "" where the name does not tell.
func kindOfRef(ref string) string {
	switch {
	case strings.HasPrefix(ref, "refs/heads/"):
		return aboutBranch
	case strings.HasPrefix(ref, "refs/tags/"):
		return aboutTag
	case strings.HasPrefix(ref, "refs/pull/"), strings.HasPrefix(ref, "refs/pull-requests/"), strings.HasPrefix(ref, "refs/merge-requests/"):
		return aboutPullRequest
	}
	return ""
}

// possible reports flags that no build can have together.
func (f *FactSource) possible(event string) error {
	g, kind := f.Given, kindOf(event)
	impossible := func(flag, value string) error {
		return fmt.Errorf("--%s %s: impossible for the event %s (leave it out, or give another --event)", flag, value, event)
	}
	switch {
	case strings.HasPrefix(g.Branch, "refs/"):
		return fmt.Errorf("--branch %s: must be the name of a branch, without refs/heads/", g.Branch)
	case strings.HasPrefix(g.Tag, "refs/"):
		return fmt.Errorf("--tag %s: must be the name of a tag, without refs/tags/", g.Tag)
	case g.Ref != "" && !strings.HasPrefix(g.Ref, "refs/"):
		return fmt.Errorf("--ref %s: must be a whole ref, such as refs/heads/main (for the name of a branch use --branch, of a tag --tag)", g.Ref)
	case g.Tag != "" && kind != "" && kind != aboutTag:
		return impossible("tag", g.Tag)
	case g.Ref != "" && kind != "" && kindOfRef(g.Ref) != "" && kindOfRef(g.Ref) != kind:
		return impossible("ref", g.Ref)
	case g.Ref != "" && g.Tag != "" && g.Ref != "refs/tags/"+g.Tag:
		return fmt.Errorf("--ref %s: is not that of --tag %s (leave it out)", g.Ref, g.Tag)
	case g.Ref != "" && g.Branch != "" && kindOfRef(g.Ref) == aboutBranch && g.Ref != "refs/heads/"+g.Branch:
		return fmt.Errorf("--ref %s: is not that of --branch %s (leave it out)", g.Ref, g.Branch)
	case g.Cron != "" && event != "cron":
		return impossible("cron", g.Cron)
	case g.Deploy != "" && kind != "":
		return impossible("deploy", g.Deploy)
	case f.PullRequest.Number < 0:
		return fmt.Errorf("--pull-request %d: must be a number from 1", f.PullRequest.Number)
	case f.PullRequest.Number > 0 && g.Ref != "" && numberOfRef(g.Ref) != f.PullRequest.Number:
		return fmt.Errorf("--ref %s: is not that of --pull-request %d (leave it out)", g.Ref, f.PullRequest.Number)
	case f.PullRequest.Number > 0 && kind != aboutPullRequest:
		return impossible("pull-request", strconv.FormatInt(f.PullRequest.Number, 10))
	case f.PullRequest.SourceBranch != "" && kind != aboutPullRequest:
		return impossible("source-branch", f.PullRequest.SourceBranch)
	case f.PullRequest.Title != "" && kind != aboutPullRequest:
		return impossible("title", f.PullRequest.Title)
	}
	return nil
}

// agree gives the facts the ref of their event, and takes away what is not of it: what git
// says of the checkout, and a CI's variables of another event, may be about something else.
func (f *FactSource) agree(facts *pipeline.Facts) error {
	kind := kindOf(facts.Event)
	if kind != "" && kindOfRef(facts.Ref) != "" && kindOfRef(facts.Ref) != kind {
		facts.Ref = ""
	}
	switch kind {
	case aboutPullRequest:
		facts.Tag = ""
		facts.Ref = cmp.Or(facts.Ref, fmt.Sprintf("refs/pull/%d/head", cmp.Or(f.PullRequest.Number, 1)))
	case aboutBranch:
		facts.Tag = ""
	case aboutTag:
		facts.Tag = cmp.Or(facts.Tag, strings.TrimPrefix(facts.Ref, "refs/tags/"))
		if facts.Tag == "" {
			return errors.New("--event " + facts.Event + ": no tag is known (give --tag)")
		}
		facts.Ref = "refs/tags/" + facts.Tag
	}
	facts.Ref = cmp.Or(facts.Ref, refOf(*facts))
	return nil
}

// numberOfRef is the number in refs/pull/42/head; 0 where there is none.
func numberOfRef(ref string) int64 {
	parts := strings.Split(ref, "/")
	if len(parts) < 3 || kindOfRef(ref) != aboutPullRequest {
		return 0
	}
	number, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return 0
	}
	return number
}
