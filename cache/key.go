package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Key are the parts of a key, the least likely to change first. A part names what it is about and
// a digest of it, so that no key has a value that should not be stored.
type Key []string

// Part is a part of a key for a value.
func Part(about, value string) string {
	sum := sha256.Sum256([]byte(value))
	return about + " " + hex.EncodeToString(sum[:16])
}

// id is the name of an entry with the key.
func (k Key) id() string {
	h := sha256.New()
	for _, part := range k {
		fmt.Fprintf(h, "%q\n", part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// begins reports whether the first n parts of both keys are the same, and both have as many parts.
func (k Key) begins(other Key, n int) bool {
	return len(k) == len(other) && slices.Equal(k[:n], other[:n])
}

// Scopes say whose caches a run reads and writes.
type Scopes struct {
	Read  []string // in the order of preference
	Write string   // one of Read; "": nothing is saved
	Share string   // of the room for all caches; entries of one share make room for each other first
}

// Origin is what the caches of a run depend on, as a CI server or the command line says it. None of
// it comes from the pipeline.
type Origin struct {
	Repository    string // or the folder of the pipeline, if it is in none
	Event         string
	Branch        string // that was pushed to; of a pull request, that it asks to change
	Tag, Ref      string
	DefaultBranch string // "": not known
}

// trusted are the events that only people with write access to the repository can cause. "" is
// the command line.
func trusted(event string) bool {
	return slices.Contains([]string{"", "push", "tag", "cron", "manual", "custom", "deployment", "promote", "rollback", "release"}, event)
}

// isProposed reports whether a ref is that of a pull request. Nobody may have reviewed its code,
// also where somebody with write access promotes its build to an environment.
func isProposed(ref string) bool {
	return slices.ContainsFunc([]string{"refs/pull/", "refs/pull-requests/", "refs/merge-requests/"}, func(prefix string) bool {
		return strings.HasPrefix(ref, prefix)
	})
}

// ScopesOf returns the scopes of a run. A trusted event reads and writes its branch, and reads the
// default branch. Any other event, and any event of a pull request, has a scope of its own, which no
// trusted event reads, and reads the branch that it asks to change. Without a ref, it could not be
// told from other pull requests, and writes nothing.
func ScopesOf(o Origin) Scopes {
	scope := func(kind, name string) string { return fmt.Sprintf("%s %s/%s", o.Repository, kind, name) }
	isTrusted := trusted(o.Event) && !isProposed(o.Ref)
	s := Scopes{Share: o.Repository}
	switch {
	case !isTrusted:
		s.Share += " proposals"
		s.Write = scope("event "+o.Event, o.Ref)
	case o.Tag != "":
		s.Write = scope("tag", o.Tag)
	default:
		s.Write = scope("branch", o.Branch)
	}
	if !isTrusted && o.Ref == "" {
		s.Write = ""
	} else {
		s.Read = []string{s.Write}
	}
	for _, branch := range []string{o.Branch, o.DefaultBranch} {
		if also := scope("branch", branch); branch != "" && !slices.Contains(s.Read, also) && (branch == o.DefaultBranch || !isTrusted) {
			s.Read = append(s.Read, also)
		}
	}
	return s
}
