package report

import (
	"fmt"
	"strings"

	"github.com/stepexec/stepexec/event"
)

// shortCommit is the length of a commit's hash that people read.
const shortCommit = 10

// pageBuild is what a page's header says of what was built.
type pageBuild struct {
	Commit, Short, Message string
	Facts                  []pageFact // those that are known
}

type pageFact struct{ Name, Value string }

// pageBuildOf returns nil if nothing is known.
func pageBuildOf(b *event.Build) *pageBuild {
	if b == nil || *b == (event.Build{Event: b.Event}) && b.Event == "manual" { // which says nothing
		return nil
	}
	p := &pageBuild{Commit: plain(b.Commit), Short: plain(short(b.Commit)), Message: plain(b.Message)}
	for _, fact := range buildFacts(b) {
		p.Facts = append(p.Facts, pageFact{fact.Name, plain(fact.Value)})
	}
	return p
}

// buildFacts are those beside the commit that are known. A ref tells something only where there is neither
// branch nor tag.
func buildFacts(b *event.Build) []pageFact {
	number, ref := "", ""
	if b.PullRequest != 0 {
		number = fmt.Sprint("#", b.PullRequest)
	}
	if b.Branch == "" && b.Tag == "" {
		ref = b.Ref
	}
	var known []pageFact
	for _, fact := range []pageFact{{"Branch", b.Branch}, {"Tag", b.Tag}, {"Ref", ref}, {"Pull request", number}, {"Event", b.Event}, {"Author", b.Author}, {"Repository", b.Repo}} {
		if fact.Value != "" {
			known = append(known, fact)
		}
	}
	return known
}

// aboutBuild says in a line what was built; "": nothing is known.
func aboutBuild(b *event.Build) string {
	if b == nil {
		return ""
	}
	var parts []string
	if b.Commit != "" {
		parts = append(parts, strings.TrimSpace("commit "+short(b.Commit)+" "+b.Message))
	}
	for _, fact := range buildFacts(b) {
		parts = append(parts, strings.ToLower(fact.Name)+" "+fact.Value)
	}
	return strings.Join(parts, ", ")
}

// short is the beginning of a commit's hash.
func short(commit string) string {
	if len(commit) > shortCommit && isPlain(commit) {
		return commit[:shortCommit]
	}
	return commit
}
