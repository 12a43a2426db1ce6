package drone

import "testing"

// What a step prints reaches its log, but for cards that have an end.
func TestCardsAreTakenOutOfALog(t *testing.T) {
	for name, c := range map[string]struct {
		lines      []string
		text, card string
	}{
		"none":                     {[]string{"a\n", "b"}, "a\nb", ""},
		"in a line":                {[]string{"a \x1b]1338;e30=\x1b]0m b\n"}, "a  b\n", "{}"},
		"over lines":               {[]string{"\x1b]1338;e3\n", "0=\n", "\x1b]0m\n", "after\n"}, "\nafter\n", "{}"},
		"its end is in two pieces": {[]string{"\x1b]1338;e30=\x1b]", "0mafter\n"}, "after\n", "{}"},
		"two, the last counts":     {[]string{"\x1b]1338;e30=\x1b]0m\x1b]1338;W10=\x1b]0m\n"}, "\n", "[]"},
		"no JSON":                  {[]string{"\x1b]1338;YWJj\x1b]0m\n"}, "\n", ""},
		"no end":                   {[]string{"\x1b]1338;e30=\n", "tests\n", "2 passed, 1 failed\n", "more\n"}, "e30=\ntests\n2 passed, 1 failed\nmore\n", ""},
		"no end, at the very end":  {[]string{"\x1b]1338;e30=\n", "passed\n"}, "e30=\npassed\n", ""},
		"no end, then another":     {[]string{"\x1b]1338;e30=\x1b]1338;W10=\x1b]0m\n"}, "e30=\n", "[]"},
		"other control sequences":  {[]string{"\x1b]1338;e30=\x1b[0m red\n"}, "e30=\x1b[0m red\n", ""},
	} {
		var held cards
		text := ""
		for _, line := range c.lines {
			text += held.take(line)
		}
		text += held.release()
		if text != c.text || string(held.last) != c.card {
			t.Errorf("%s: text %q, card %q", name, text, held.last)
		}
	}
}

// A card that is too long is text.
func TestLongCardsAreText(t *testing.T) {
	var held cards
	sent, got := 0, len(held.take(cardStart))
	for line := range 3 * maxCard / 64 {
		text := "0123456789012345678901234567890123456789012345678901234567890123"
		if sent += len(text); line%100 == 0 {
			text, sent = text+"\n", sent+1
		}
		got += len(held.take(text))
	}
	got += len(held.take(cardEnd)) - len(cardEnd)
	if got += len(held.release()); got != sent || held.last != nil {
		t.Errorf("%d of %d bytes, card of %d bytes", got, sent, len(held.last))
	}
}

// A stage's exit code is 0 if and only if the stage has succeeded.
func TestExitCodeOfAStageFitsItsStatus(t *testing.T) {
	failed := func(code int, ignored bool) *stepLog {
		return &stepLog{step: &step{ErrIgnore: ignored}, end: ending{status: statusFailure, code: code}}
	}
	for _, c := range []struct {
		status string
		steps  []*stepLog
		want   int
	}{
		{statusSuccess, nil, 0},
		{statusSuccess, []*stepLog{failed(3, false)}, 0},
		{statusFailure, []*stepLog{failed(3, true), failed(4, false)}, 4},
		{statusFailure, []*stepLog{failed(3, true)}, 1},
		{statusFailure, nil, 1},
		{statusError, nil, codeError},
		{statusKilled, nil, codeKilled},
		{statusKilled, []*stepLog{failed(124, false)}, 124},
	} {
		if got := exitCode(&stage{Status: c.status}, c.steps); got != c.want {
			t.Errorf("%s with %d steps: %d, want %d", c.status, len(c.steps), got, c.want)
		}
	}
}
