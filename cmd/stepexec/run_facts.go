package main

import (
	"errors"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
)

// factFlags are the flags that set the facts that conditions use.
type factFlags struct {
	given   pipeline.Facts
	changed []string
	base    string
	pull    run.PullRequest

	metadata, author string
}

func (f *factFlags) add(flags *pflag.FlagSet) {
	g := &f.given
	flags.StringVar(&g.Branch, "branch", "", "`branch` that when: sees; of a pull request, its target (default: from the CI's variables, or git)")
	flags.StringVar(&g.Tag, "tag", "", "`tag` that when: sees")
	flags.StringVar(&g.Event, "event", "", "`event` that when: sees, such as push, pull_request, tag, cron (default: from the CI's variables, or manual)")
	flags.StringVar(&g.Ref, "ref", "", "git `ref` that when: sees, such as refs/heads/main")
	flags.StringVar(&g.Repo, "repo", "", "`repository` that when: sees, such as owner/name")
	flags.StringVar(&g.Instance, "instance", "", "`host` of the CI server that when: sees")
	flags.StringVar(&g.Cron, "cron", "", "`name` of the cron job that when: sees")
	flags.StringVar(&g.Action, "action", "", "`action` of the event that when: sees, such as opened")
	flags.StringVar(&g.Deploy, "deploy", "", "`name` of the environment deployed to, that when: sees")
	flags.Func("pull-request", "`number` of the pull request that when: and variables see (1 for --event pull_request)", func(text string) (err error) {
		f.pull.Number, err = strconv.ParseInt(text, 10, 64)
		if err != nil || f.pull.Number < 1 {
			return errors.New("must be a number from 1")
		}
		return nil
	})
	flags.StringVar(&f.pull.SourceBranch, "source-branch", "", "`branch` that a pull request comes from (default: the one that is checked out)")
	flags.StringVar(&f.pull.Title, "title", "", "`title` of the pull request")
	flags.StringVar(&f.author, "author", "", "`NAME <EMAIL>`, or login, of the commit's author that variables tell of (default: from git)")
	flags.StringVar(&f.metadata, "metadata", "", "`FILE` that says what is built: Woodpecker's metadata of a workflow, which chooses it and its cell, or a build of Drone's API, in JSON")
	flags.StringArrayVar(&f.changed, "changed", nil, "`FILE` that has changed, for when: path (may be repeated; default: those of the last commit)")
	flags.StringVar(&f.base, "changed-since", "", "git `commit` since which files have changed, for when: path")
}

func (f *factFlags) source() run.FactSource {
	return run.FactSource{Given: f.given, Changed: f.changed, PullRequest: f.pull, Base: f.base, Metadata: f.metadata, Author: f.author}
}
