package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// checkSafe checks that JSON of an event has nothing in it that a terminal obeys, and the same values as
// encoding/json's.
func checkSafe(t *testing.T, text []byte, e event.Event) {
	t.Helper()
	for _, r := range strings.TrimSuffix(string(text), "\n") {
		if r < ' ' || r >= 0x7f && r < 0xa0 || logs.Misleads(r) {
			t.Fatalf("%q has %q in it", text, r)
		}
	}
	if bytes.Contains(text, []byte("##[")) {
		t.Fatalf("%q has what a runner of GitHub Actions obeys", text)
	}
	usual, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(usual, &want)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-encoding/json +Encoder:\n%s", diff)
	}
}

// FuzzLineEncoder compares with Encoder, and that with encoding/json.
func FuzzLineEncoder(f *testing.F) {
	f.Add("build", "a <b> & \"c\" \\ \x00\x1b\x7f\b\f\n\r\t\u2028\u2029\u202e\u009b \xff ä \ufffd", "", true)
	f.Add("##[group]", "a ##[error]b ####[ #[", "##[ä", false)
	f.Add("a\nb", "plain", "GO=1.26", false)
	f.Fuzz(func(t *testing.T, step, text, cell string, partial bool) {
		e := event.Event{Time: time.Date(2026, 11, 28, 3, 0, 0, 5000, time.UTC), Kind: event.Line, Cell: cell, Step: step, Stream: event.Stderr, Text: text, Partial: partial}
		var want bytes.Buffer
		if err := event.NewEncoder(&want).Encode(e); err != nil {
			t.Fatal(err)
		}
		checkSafe(t, want.Bytes(), e)
		for _, before := range []event.Event{ // nothing of it may remain
			{Cell: cell, Step: step, Stream: e.Stream},
			{Time: e.Time, Step: step, Stream: e.Stream},
			{Time: e.Time, Cell: cell, Stream: e.Stream},
			{Time: e.Time, Cell: cell, Step: step, Stream: event.Stdout},
			e,
		} {
			var lines event.LineEncoder
			lines.Append(nil, &before)
			if got := lines.Append(nil, &e); !bytes.Equal(got, want.Bytes()) {
				t.Errorf("got  %s\nwant %s", got, want.Bytes())
			}
		}
	})
}
