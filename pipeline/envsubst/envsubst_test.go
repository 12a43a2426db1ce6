package envsubst_test

import (
	"testing"

	"github.com/stepexec/stepexec/pipeline/envsubst"
)

func TestSubstitute(t *testing.T) {
	values := map[string]string{"SHA": "0123456789", "LINES": "one\n\"two\"", "TAG": "v1.2"}
	for text, want := range map[string]string{
		"a ${SHA:0:7} $SHA":          "a 0123456 $SHA",
		"${UNKNOWN}|${UNKNOWN:-d}":   "|d",
		"$${SHA} $$ ${TAG##v}":       "${SHA} $ 1.2",
		"${LINES}":                   `"one\n\"two\""`,
		"x\n# ${TAG/v/V}\r\n${#SHA}": "x\n# V1.2\r\n10",
	} {
		if got, err := envsubst.Substitute("f", text, values); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"a\n ${a[@]}": "f:2:2: substitute ${…}: missing closing brace (write $${…} for what the shell is to see)",
		"${SHA:0:-1}": "f:1:1: substitute ${…}: runtime error: slice bounds out of range [:-1] (write $${…} for what the shell is to see)",
	} {
		if _, err := envsubst.Substitute("f", text, values); err == nil || err.Error() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got := envsubst.Unescape("$${A} $$ ${B} $C"); got != "${A} $ ${B} $C" {
		t.Error(got)
	}
}

func FuzzSubstitute(f *testing.F) {
	f.Add("${SHA:1:3} $${A} ${B/x/y}")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = envsubst.Substitute("f", text, map[string]string{"SHA": "0123456789"}) // it must not panic
	})
}
