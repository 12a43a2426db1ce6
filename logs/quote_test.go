package logs_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/logs"
)

func TestQuote(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"build", "build"},
		{"grün 漢字 😀 ⚠️", "grün 漢字 😀 ⚠️"},
		{"/x\n[deploy] succeeded", "/x␊[deploy] succeeded"},
		{"/x\r[deploy] succeeded", "/x␍[deploy] succeeded"},
		{"a\x1b[31mb\x1b[2J\x1b]0;title\ac", "abc"},
		{"a\u2028b\u2029c", `a\u2028b\u2029c`},
		{"a\u202eb\u2066c\u061cd\u200fe", `a\u202eb\u2066c\u061cd\u200fe`},
		{"a\u200bb\u200dc\ufeffd\u00ade", `a\u200bb\u200dc\ufeffd\u00ade`},
		{"::error::x", `\::error::x`},
		{" \t::error::x", " \t" + `\::error::x`},
		{"a::b", "a::b"},
		{"a ##[error]x", `a #\#[error]x`},
		{"#\x1b[m#[error]x", `#\#[error]x`},
		{"\a::error::x", `\::error::x`},
	} {
		if got := logs.Quote(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

var unseen = regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f-\x{9f}\x{ad}\x{61c}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{206f}\x{feff}]`)

func FuzzQuote(f *testing.F) {
	f.Add("a\n::b\u202e##[c\x1b[2J")
	f.Add("#\x1b[m#[\r")
	f.Fuzz(func(t *testing.T, text string) {
		got := logs.Quote(text)
		if unseen.MatchString(got) || strings.Contains(got, "##[") || strings.HasPrefix(strings.TrimSpace(got), "::") {
			t.Errorf("%q becomes %q", text, got)
		}
		if again := logs.Quote(got); again != got {
			t.Errorf("%q becomes %q, and that %q", text, got, again)
		}
	})
}
