package drone_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A card reaches the server and is not in the log.
func TestCardsAreSent(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	card := base64.StdEncoding.EncodeToString([]byte(`{"schema": "https://example.com/card.json", "data": {"passed": 3}}`))
	s := b.server.Ended(b.server.Push(steps(`a: commands: ["echo before", "printf '\\\033]1338;`+card+`\\\033]0m' >$DRONE_CARD_PATH", "echo after"]`, "b: commands: [echo]"), nil))
	want := map[string]any{"schema": "https://example.com/card.json", "data": map[string]any{"passed": 3.0}}
	if diff := cmp.Diff(want, s.Step("a").Card); diff != "" || s.Step("b").Card != nil {
		t.Error(diff, s.Error, outcome(s))
	}
	if text := s.Step("a").Text(); strings.Contains(text, "\x1b") || !strings.Contains(text, "\nafter\n") {
		t.Errorf("%q", text)
	}
}
