package logs_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/logs"
)

// Eight bytes of a text at once must come to the same as each of them alone, wherever among the eight it stands.
func TestUnescapedTextAgreesWithReference(t *testing.T) {
	var texts []string
	for c := ' '; c < 0x7f; c++ {
		for at := range 9 {
			texts = append(texts, strings.Repeat("-", at)+string(c)+strings.Repeat("-", 12))
		}
	}
	rnd := rand.New(rand.NewPCG(8, 9))
	pieces := strings.Split("a|b!|#1|word|words_of_it| |  |\"|'|`|$|+|\\|\\\\|\\n|\\x41|\\u0042|\\103|%|%41|%2541|%25|&|&amp;|&lt;|&#65;|ü|日本|\\xfc|~|long/er.word:of=many;bytes", "|")
	for range 2000 {
		var text strings.Builder
		for range rnd.IntN(40) {
			text.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		texts = append(texts, text.String())
	}
	for _, visible := range texts {
		places := make([]int, len(visible))
		for i := range places {
			places[i] = i
		}
		want, units := unescapeSlowly(visible, places)
		var wantFrom []int
		for _, u := range units {
			wantFrom = append(wantFrom, u.first)
		}
		text, from := logs.Unescaped(visible, rnd.IntN(len(visible)+1))
		if text != want || !slices.Equal(from, wantFrom) {
			t.Fatalf("%q became %q (-want +got):\n%s%s", visible, text, cmp.Diff(want, text), cmp.Diff(wantFrom, from))
		}
		at := rnd.IntN(len(visible) + 1)
		first := slices.IndexFunc(wantFrom, func(from int) bool { return from >= at })
		if first < 0 {
			first = len(wantFrom)
		}
		if got := logs.UnescapedPlace(visible, at); got != first {
			t.Fatalf("%q: behind %d is %d, want %d", visible, at, got, first)
		}
		n := rnd.IntN(len(want) + 1)
		text, from = logs.DropUnescaped(visible, n)
		if text != want[n:] || !slices.Equal(from, wantFrom[n:]) {
			t.Fatalf("%q without %d bytes became %q (-want +got):\n%s", visible, n, text, cmp.Diff(wantFrom[n:], from))
		}
	}
}
