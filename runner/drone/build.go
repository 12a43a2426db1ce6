package drone

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/pipeline"
	format "github.com/stepexec/stepexec/pipeline/drone"
)

// fileName is what messages call the pipeline file, whose name the server does not tell.
const fileName = ".drone.yml"

func parse(data []byte, o format.Options) (*pipeline.Set, error) {
	return format.Parse(fileName, data, o)
}

// translation says for what build the file is read.
func (w *worker) translation(s *stage, d *details) format.Options {
	o := format.Options{
		Build: buildOf(d), Params: d.Build.Params, Environ: w.o.Environ, Proxies: w.o.Proxies,
		Stage: &format.Stage{
			Name: s.Name, Number: s.Number, Kind: s.Kind, Type: s.Type, OS: s.OS, Arch: s.Arch, Variant: s.Variant, Version: s.Kernel,
			Machine: w.o.Name, Started: s.Started, DependsOn: s.DependsOn,
		},
		Untrusted: !d.Repo.Trusted, SecretKey: secretKey(d), Clone: cmp.Or(w.o.Clone, DefaultClone),
		PrivilegedImages: slices.Concat(format.DefaultPrivileged(), w.o.PrivilegedImages),
		Network:          w.o.Network, NetrcCloneOnly: w.o.NetrcCloneOnly, Volumes: w.o.Volumes, Devices: w.o.Devices, Limits: w.o.Limits,
		FailedStages: failedStages(d, s),
	}
	if n := d.Netrc; n != nil && n.Password != "" {
		o.Netrc = &format.Netrc{Machine: n.Machine, Login: n.Login, Password: n.Password}
	}
	return o
}

func failedStages(d *details, s *stage) []string {
	var failed []string
	for _, other := range d.Build.Stages {
		if other.ID != s.ID && slices.Contains([]string{statusFailure, statusError, statusKilled}, other.Status) && !other.ErrIgnore {
			failed = append(failed, other.Name)
		}
	}
	return failed
}

// secretKey is what secrets in the file are encrypted with. Pull requests from forks of
// public repositories do not get it: whoever opens one could read them.
func secretKey(d *details) string {
	fromFork := d.Build.Event == "pull_request" && d.Build.Fork != "" && d.Build.Fork != d.Repo.Slug
	if fromFork && !d.Repo.Private {
		return ""
	}
	return d.Repo.Secret
}

func buildOf(d *details) pipeline.Build {
	b, r := d.Build, d.Repo
	out := pipeline.Build{
		Facts: pipeline.Facts{
			Branch: b.Target, Event: b.Event, Ref: b.Ref, Repo: r.Slug, Instance: d.System.Host, Cron: b.Cron, Action: b.Action, Deploy: b.Deploy,
			Tag: tagOf(b.Ref), Platform: d.Stage.OS + "/" + d.Stage.Arch, DefaultBranch: r.Branch,
		},
		Number: b.Number, Parent: b.Parent, Link: linkOf(d), Created: at(b.Created), Started: at(b.Started), Sender: cmp.Or(b.Sender, b.Trigger),
		Commit: b.After, Before: b.Before, SourceBranch: b.Source, TargetBranch: b.Target, Message: b.Message, CommitLink: b.Link,
		Author:           pipeline.Person{Login: b.Author, Name: b.AuthorName, Email: b.AuthorEmail, Avatar: b.AuthorAvatar},
		PullRequestTitle: pullRequestTitle(b),
		Repository: pipeline.Repository{
			Owner: r.Namespace, Name: r.Name, Link: r.Link, CloneURL: r.HTTPURL, SSHURL: r.SSHURL, DefaultBranch: r.Branch,
			Private: r.Private, Trusted: r.Trusted,
		},
		System: pipeline.System{Name: "drone", Host: d.System.Host, Proto: d.System.Proto, Version: d.System.Version},
	}
	return out
}

func pullRequestTitle(b *build) string {
	if b.Event != "pull_request" {
		return ""
	}
	return b.Title
}

func tagOf(ref string) string {
	tag, found := strings.CutPrefix(ref, "refs/tags/")
	if !found {
		return ""
	}
	return tag
}

func linkOf(d *details) string {
	server := cmp.Or(d.System.Link, d.System.Proto+"://"+d.System.Host)
	return strings.TrimSuffix(server, "/") + "/" + d.Repo.Slug + "/" + strconv.FormatInt(d.Build.Number, 10)
}

func at(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// ownSecret is a name among the secrets for one of the runner's own. No file can guess it, and give
// the secret to a step.
func ownSecret(about string) string { return about + " " + rand.Text() }

// secrets are those of the server, then those in the file, then the runner's own, then those of
// plugins; masked are further values that no log may show. One that is used and that nobody has is
// empty for the step, as it is with Drone.
func (w *worker) secrets(ctx context.Context, j *job, d *details, masked []string) (map[string]string, error) {
	all := map[string]string{}
	for name, value := range w.o.Secrets {
		all[name] = value
	}
	maps.Copy(all, j.set.Secrets)
	for _, s := range d.Secrets {
		if s.Data != "" {
			all[s.Name] = s.Data
		}
	}
	p := j.workflow.Pipeline
	for _, step := range slices.Concat(p.Services, p.Steps) {
		for _, v := range step.Environment {
			known(all, v.Value.FromSecret)
		}
		for _, s := range step.Settings {
			settingSecrets(all, s)
		}
	}
	if err := w.pluginSecrets(ctx, j, d, all); err != nil {
		return nil, err
	}
	config, passwords, err := w.pluginLogins(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, value := range slices.Concat(masked, passwords) {
		all[ownSecret("value of a plugin")] = value
	}
	for about, config := range map[string][]byte{"plugin's docker config.json": config, "runner's docker config.json": w.o.RegistryConfig} {
		if len(config) > 0 {
			name := ownSecret(about)
			all[name] = string(config)
			p.PullSecrets = append(p.PullSecrets, pipeline.SecretUse{Name: name})
		}
	}
	return all, nil
}

func settingSecrets(all map[string]string, s pipeline.Setting) {
	known(all, s.Value.FromSecret)
	for _, part := range slices.Concat(s.List, s.Map) {
		settingSecrets(all, part)
	}
}

func known(all map[string]string, name string) {
	if _, found := all[name]; name != "" && !found {
		all[name] = ""
	}
}
