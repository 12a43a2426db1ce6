package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stepexec/stepexec/logs"
)

func TestPlainText(t *testing.T) {
	for in, want := range map[string]string{
		"as it is":                                 "as it is",
		"\x1b[1;31mred\x1b[0m":                     "red",
		"\x1b]0;title\x07text":                     "text",
		"\x1b]8;;http://e\x1b\\link\x1b]8;;\x1b\\": "link",
		"\x1bPq#0\x1b\\after":                      "after",
		"\x1b(Bplain\x1b":                          "plain",
		"\x1b[31":                                  "",
		"\x1b[3\x01m":                              "m",
		"bell\a null\x00 \x7f\ttab":                "bell null \ttab",
		"10%\r100%\r":                              "100%",
		"bad \xff utf-8":                           "bad \uFFFD utf-8",
		"\u202eevil\u2066\u2028":                   `\u202eevil\u2066\u2028`,
		"\u009b31mC1":                              "\uFFFD31mC1",
		"\uFFFE\U0001F600":                         "\uFFFD\U0001F600",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, not %q", in, got, want)
		}
	}
}

func FuzzPlainText(f *testing.F) {
	f.Add("\x1b[1m\x1b]0;t\a\x1b\\\r\n\xff\u202e")
	f.Fuzz(func(t *testing.T, in string) {
		out := plain(in)
		if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return r < ' ' && r != '\t' || !isXML(r) || logs.Misleads(r) }) {
			t.Errorf("plain(%q) = %q", in, out)
		}
		if again := plain(out); again != out {
			t.Errorf("plain(%q) = %q, and again %q", in, out, again)
		}
		if strings.ContainsAny(escape(in), "<>|`*_[]\\!~:.\"'\n") {
			t.Errorf("escape(%q) = %q", in, escape(in))
		}
	})
}
