package run

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/pipeline"
)

// woodpeckerMetadata is what Woodpecker's server offers for a workflow, to run it again with its
// own command line.
type woodpeckerMetadata struct {
	Repo struct {
		ID            int64
		Owner, Name   string
		RemoteID      string `json:"remote_id"`
		ForgeURL      string `json:"forge_url"`
		CloneURL      string `json:"clone_url"`
		SSHURL        string `json:"clone_url_ssh"`
		DefaultBranch string `json:"default_branch"`
		Private       bool
	}
	Curr, Prev *woodpeckerPipeline
	Workflow   struct {
		Name   string
		Number int
		Matrix map[string]string
	}
	Sys struct {
		Name, Host, URL, Version string
		Platform                 string `json:"arch"`
	}
	Forge struct{ Type, URL string }
}

type woodpeckerPipeline struct {
	Number, Parent, Created, Started, Finished int64
	Event, Cron, Author, Avatar, Status        string
	EventReason                                []string `json:"event_reason"`
	ForgeURL                                   string   `json:"forge_url"`
	Deploy                                     string   `json:"target"`
	DeployTask                                 string   `json:"task"`
	Reruns                                     int64    `json:"rerun_count"`
	Release                                    struct {
		Title        string
		IsPrerelease bool `json:"is_prerelease"`
	}
	Commit struct {
		SHA, Ref, Refspec, Branch, Message, Milestone string
		Timestamp                                     int64
		Author                                        struct{ Name, Email, Avatar string }
		ChangedFiles                                  []string `json:"changed_files"`
		Labels                                        []string
		Draft                                         bool
	}
}

// droneMetadata is a build as Drone's API has it.
type droneMetadata struct {
	Number, Parent, Created, Started                 int64
	Event, Action, Link, Title, Message              string
	Before, After, Ref, Source, Target, Sender, Cron string
	Deploy                                           string `json:"deploy_to"`
	AuthorLogin                                      string `json:"author_login"`
	AuthorName                                       string `json:"author_name"`
	AuthorEmail                                      string `json:"author_email"`
	AuthorAvatar                                     string `json:"author_avatar"`
	Trigger                                          string
	Params                                           map[string]string
}

// chosen is what the metadata of a single workflow says beside its build: Woodpecker names the
// workflow, and the values of its cell of a matrix.
type chosen struct {
	workflow string   // "": metadata of a build
	cell     []string // AXIS=VALUE
}

// readMetadata returns the build that a file of metadata describes: what Woodpecker's server
// offers for `woodpecker-cli exec --metadata-file`, or a build of Drone's API in JSON.
func readMetadata(file string) (*pipeline.Build, chosen, error) {
	fail := func(err error) (*pipeline.Build, chosen, error) {
		return nil, chosen{}, fmt.Errorf("--metadata %s: %w", file, err)
	}
	data, err := pipeline.ReadFile(file)
	if err != nil {
		return fail(err)
	}
	var w woodpeckerMetadata
	if err := json.Unmarshal(data, &w); err != nil {
		return fail(fmt.Errorf("not the metadata of a build: %w", err))
	}
	b := w.build()
	if w.Curr == nil {
		var d droneMetadata
		if err := json.Unmarshal(data, &d); err != nil {
			return fail(fmt.Errorf("not the metadata of a build: %w", err))
		}
		b = d.build()
	}
	switch kind, of := kindOf(b.Event), kindOfRef(b.Ref); {
	case b.Event == "" || b.Commit == "":
		return fail(errors.New("it has no event or no commit (it may be Woodpecker's metadata of a workflow, or a build of Drone's API)"))
	case kind != "" && of != "" && kind != of:
		return fail(fmt.Errorf("its ref %s is impossible for its event %s", b.Ref, b.Event))
	}
	return b, w.chosen(), nil
}

func (w *woodpeckerMetadata) chosen() chosen {
	c := chosen{workflow: w.Workflow.Name}
	for _, axis := range slices.Sorted(maps.Keys(w.Workflow.Matrix)) {
		c.cell = append(c.cell, axis+"="+w.Workflow.Matrix[axis])
	}
	return c
}

func (w *woodpeckerMetadata) build() *pipeline.Build {
	if w.Curr == nil {
		return nil
	}
	c, r := w.Curr, &w.Repo
	b := &pipeline.Build{
		Number: c.Number, Parent: c.Parent, Created: time.Unix(c.Created, 0), Started: time.Unix(c.Started, 0), Sender: c.Author,
		Commit: c.Commit.SHA, Message: c.Commit.Message, CommitLink: c.ForgeURL,
		Author:     pipeline.Person{Login: c.Commit.Author.Name, Name: c.Commit.Author.Name, Email: c.Commit.Author.Email, Avatar: cmp.Or(c.Commit.Author.Avatar, c.Avatar)},
		Repository: pipeline.Repository{Owner: r.Owner, Name: r.Name, Link: r.ForgeURL, CloneURL: r.CloneURL, SSHURL: r.SSHURL, DefaultBranch: r.DefaultBranch, Private: r.Private},
		System:     pipeline.System{Name: w.Sys.Name, Host: w.Sys.Host, Proto: "https", Version: w.Sys.Version},
		Link:       w.page(c),
		Variables:  w.variables(),
	}
	if c.Commit.Timestamp > 0 {
		b.CommitTime = time.Unix(c.Commit.Timestamp, 0)
	}
	b.Event, b.Ref, b.Branch, b.Cron, b.Deploy = c.Event, c.Commit.Ref, c.Commit.Branch, c.Cron, c.Deploy
	b.Repo, b.Instance, b.DefaultBranch = strings.TrimPrefix(r.Owner+"/"+r.Name, "/"), w.Sys.Host, r.DefaultBranch
	b.Files, b.FilesKnown = c.Commit.ChangedFiles, c.Commit.ChangedFiles != nil
	if w.Prev != nil {
		b.Before = w.Prev.Commit.SHA
	}
	source, target, isPull := strings.Cut(c.Commit.Refspec, ":")
	fillBranches(b, source, target, isPull)
	return b
}

func (d *droneMetadata) build() *pipeline.Build {
	b := &pipeline.Build{
		Number: d.Number, Parent: d.Parent, Created: time.Unix(d.Created, 0), Started: time.Unix(d.Started, 0), Sender: cmp.Or(d.Sender, d.Trigger),
		Commit: d.After, Before: d.Before, Message: d.Message, CommitLink: d.Link,
		Author: pipeline.Person{Login: d.AuthorLogin, Name: d.AuthorName, Email: d.AuthorEmail, Avatar: d.AuthorAvatar},
	}
	b.Event, b.Action, b.Ref, b.Branch, b.Cron, b.Deploy = d.Event, d.Action, d.Ref, d.Target, d.Cron, d.Deploy
	b.Instance = hostOf(os.Getenv("DRONE_SERVER")) // that the build was asked of: its link is of the forge
	b.System = pipeline.System{Host: b.Instance, Proto: "https"}
	b.Variables = maps.Clone(d.Params)
	if kindOf(d.Event) == aboutPullRequest {
		b.PullRequestTitle = d.Title
	}
	fillBranches(b, d.Source, d.Target, true)
	return b
}

// fillBranches adds what follows from the ref.
func fillBranches(b *pipeline.Build, source, target string, known bool) {
	b.SourceBranch, b.TargetBranch = b.Branch, b.Branch
	if known {
		b.SourceBranch, b.TargetBranch = cmp.Or(source, b.Branch), cmp.Or(target, b.Branch)
	}
	b.Tag = strings.TrimPrefix(b.Ref, "refs/tags/")
	if kindOfRef(b.Ref) != aboutTag {
		b.Tag = ""
	}
	b.PullRequest = numberOfRef(b.Ref)
}

// replayed is the build of --metadata on this machine; nil without.
func (f *FactSource) replayed(platform string) (*pipeline.Build, error) {
	if f.Metadata == "" {
		return nil, nil
	}
	if f.saysSomething() {
		return nil, fmt.Errorf("--metadata %s: cannot be combined with flags that say what is built, such as --event (the file says it)", f.Metadata)
	}
	b, _, err := readMetadata(f.Metadata)
	if err != nil {
		return nil, err
	}
	b.Platform = platform
	return b, nil
}

// saysSomething reports whether flags say what is built.
func (f *FactSource) saysSomething() bool {
	g := f.Given
	return g.Event+g.Branch+g.Tag+g.Ref+g.Repo+g.Instance+g.Cron+g.Action+g.Deploy+f.Base+f.Author != "" || len(f.Changed) > 0 || f.PullRequest != (PullRequest{})
}

// person reads NAME <EMAIL>, or a name alone.
func person(text string) (pipeline.Person, error) {
	if !strings.Contains(text, "<") {
		return pipeline.Person{Login: text, Name: text}, nil
	}
	address, err := mail.ParseAddress(text)
	if err != nil {
		return pipeline.Person{}, fmt.Errorf("--author %s: not a name and an address (write it like 'Octo Cat <octo@example.com>')", text)
	}
	login, _, _ := strings.Cut(address.Address, "@")
	return pipeline.Person{Login: login, Name: cmp.Or(address.Name, login), Email: address.Address}, nil
}

// choose lets the metadata of a single workflow choose the workflow and its cell, as far as the
// request does not.
func (r *Request) choose(from *Source) (pipelines, matrix []string, err error) {
	pipelines, matrix = r.Pipelines, r.Matrix
	if r.Facts.Metadata == "" {
		return pipelines, matrix, nil
	}
	_, c, err := readMetadata(r.Facts.Metadata)
	if err != nil || len(pipelines) > 0 {
		return pipelines, matrix, err
	}
	fail := func(format string, args ...any) ([]string, []string, error) {
		return nil, nil, fmt.Errorf("--metadata %s: %w (choose what to run: --pipeline NAME, --matrix AXIS=VALUE)", r.Facts.Metadata, fmt.Errorf(format, args...))
	}
	all := from.Set.Workflows
	named := c.workflow != "" && len(all) > 0
	if named && !slices.ContainsFunc(all, func(w pipeline.Workflow) bool { return w.Name == c.workflow }) {
		info, err := os.Stat(from.File)
		if err != nil {
			return fail("%w", err)
		}
		if info.IsDir() || slices.ContainsFunc(all, func(w pipeline.Workflow) bool { return w.Name != all[0].Name }) {
			return fail("it is of the workflow %q, which %s does not have (it has %s)", c.workflow, from.File, PipelineNames(all))
		}
		// A file that was named by itself need not be called as on the server.
	} else if named {
		pipelines = []string{c.workflow}
	}
	if len(matrix) == 0 {
		matrix = c.cell
	}
	return pipelines, matrix, nil
}
