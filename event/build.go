package event

import (
	"strings"
	"unicode/utf8"
)

// buildTextMax bounds each text of a Build, in bytes: whoever makes a commit writes them.
const buildTextMax = 250

// Build says what a run builds, as far as it is known. Strangers write most of it: names of branches,
// authors and messages come from commits and pull requests.
type Build struct {
	Repo        string `json:"repository,omitempty"` // as OWNER/NAME
	Event       string `json:"event,omitempty"`      // why it was started, such as push or pull_request
	Branch      string `json:"branch,omitempty"`     // of a pull request, the one that it goes to
	Tag         string `json:"tag,omitempty"`
	Ref         string `json:"ref,omitempty"`    // full name, such as refs/heads/main
	Commit      string `json:"commit,omitempty"` // full hash
	Message     string `json:"message,omitempty"`
	Author      string `json:"author,omitempty"`       // of the commit: a name, or a login
	PullRequest int64  `json:"pull_request,omitempty"` // its number; 0: it is none
}

// Shown returns a build that events and records may hold: every text went through mask, the message
// is its first line, and what is too long is cut.
func (b Build) Shown(mask func(string) string) Build {
	for _, text := range []*string{&b.Repo, &b.Event, &b.Branch, &b.Tag, &b.Ref, &b.Commit, &b.Message, &b.Author} {
		*text = bounded(mask(*text))
	}
	return b
}

// bounded returns the first line of a text, cut at buildTextMax.
func bounded(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.TrimSpace(text)
	if len(text) <= buildTextMax {
		return text
	}
	at := buildTextMax
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + "…"
}
