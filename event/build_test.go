package event_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stepexec/stepexec/event"
)

func TestShownBuildIsMaskedBeforeItIsCut(t *testing.T) {
	secret := "first half\nsecond half"
	long := strings.Repeat("ä", 200) + secret
	mask := func(text string) string { return strings.ReplaceAll(text, secret, "***") }
	for name, text := range map[string]string{
		"a message of several lines": "one ***\n\nmore",
		"its first line":             "one " + secret + "\nmore",
		"spaces and CRLF":            "  one ***\r\nmore",
	} {
		if got := (event.Build{Message: text}).Shown(mask).Message; got != "one ***" {
			t.Errorf("%s: %q", name, got)
		}
	}
	b := event.Build{Repo: long, Event: long, Branch: long, Tag: long, Ref: long, Commit: long, Message: long, Author: long, PullRequest: 7}
	got := b.Shown(mask)
	for _, text := range []string{got.Repo, got.Event, got.Branch, got.Tag, got.Ref, got.Commit, got.Message, got.Author} {
		if len(text) > 260 || !utf8.ValidString(text) || strings.Contains(text, "half") || !strings.HasSuffix(text, "ä…") {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
	if b.Message != long || got.PullRequest != 7 {
		t.Errorf("%+v", b)
	}
}
