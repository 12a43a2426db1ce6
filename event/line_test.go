package event_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
)

// FuzzLineEncoder compares with encoding/json.
func FuzzLineEncoder(f *testing.F) {
	f.Add("build", "a <b> & \"c\" \\ \x00\x1b\x7f\b\f\n\r\t\u2028\u2029 \xff ä \ufffd", "", true)
	f.Add("a\nb", "plain", "GO=1.26", false)
	f.Fuzz(func(t *testing.T, step, text, cell string, partial bool) {
		e := event.Event{Time: time.Date(2026, 11, 28, 3, 0, 0, 5000, time.UTC), Kind: event.Line, Cell: cell, Step: step, Stream: event.Stderr, Text: text, Partial: partial}
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(e); err != nil {
			t.Fatal(err)
		}
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
