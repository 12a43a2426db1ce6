package logs_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/logs"
)

func TestSanitize(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"text", "plain text\twith a tab", "plain text\twith a tab"},
		{"letters", "grün 漢字 😀", "grün 漢字 😀"},
		{"colour", "\x1b[1;31mred\x1b[0m text", "\x1b[1;31mred\x1b[0m text"},
		{"colour, short reset", "\x1b[31mred\x1b[m", "\x1b[31mred\x1b[m"},
		{"colour of 256", "\x1b[38;5;8mgrey\x1b[0m", "\x1b[38;5;8mgrey\x1b[0m"},
		{"colour of 24 bits", "\x1b[38;2;8;8;8mgrey\x1b[0m", "\x1b[38;2;8;8;8mgrey\x1b[0m"},
		{"colour with colons", "\x1b[38:2::8:8:8mgrey\x1b[0m", "\x1b[38:2::8:8:8mgrey\x1b[0m"},
		{"colour without an end", "\x1b[31mred", "\x1b[31mred\x1b[0m"},
		{"colour after another", "\x1b[31mred\x1b[0;32mgreen", "\x1b[31mred\x1b[0;32mgreen\x1b[0m"},
		{"hidden", "a\x1b[8mb", "ab"},
		{"hidden and red", "a\x1b[31;08mb", "ab"},
		{"private SGR", "a\x1b[>4;1mb", "ab"}, // xterm's modifyOtherKeys
		{"cursor up", "a\x1b[2Ab", "ab"},
		{"cursor hidden", "a\x1b[?25lb", "ab"},
		{"cursor style", "a\x1b[2 qb", "ab"},
		{"screen cleared", "a\x1b[2J\x1b[3Jb", "ab"},
		{"whole terminal reset", "a\x1bcb", "ab"},
		{"other screen", "a\x1b[?1049hb", "ab"},
		{"charset", "a\x1b(0b", "ab"},
		{"UTF-8 off", "a\x1b%@b", "ab"},
		{"test pattern", "a\x1b#8b", "ab"},
		{"title", "a\x1b]0;owned\ab", "ab"},
		{"title, ST", "a\x1b]2;owned\x1b\\b", "ab"},
		{"clipboard", "a\x1b]52;c;cm0gLXJm\ab", "ab"},
		{"palette", "a\x1b]4;1;rgb:00/00/00\ab", "ab"},
		{"hyperlink", "see \x1b]8;;https://a.example\x1b\\here\x1b]8;;\x1b\\.", "see here."},
		{"hyperlink of an odd scheme", "\x1b]8;;ssh://x -oProxyCommand=y\ahere\x1b]8;;\a", "here"},
		{"device attributes", "a\x1b[c\x1b[>c\x1b[6n\x1bZb", "ab"},
		{"DCS", "a\x1bP+q544e\x1b\\b", "ab"},
		{"APC", "a\x1b_Gq\x1b\\b", "ab"},
		{"PM", "a\x1b^x\x1b\\b", "ab"},
		{"SOS", "a\x1bXx\x1b\\b", "ab"},
		{"8-bit CSI as UTF-8", "a\u009b2Jb", "a�2Jb"},
		{"8-bit OSC as a byte", "a\x9d0;t\x9cb", "a�0;t�b"},
		{"CSI without an end", "a\x1b[31", "a␛[31"},
		{"CSI with a control character in it", "a\x1b[3\x001mb", "a␛[3␀1mb"},
		{"CSI with a letter of two bytes in it", "a\x1b[3ä", "a␛[3ä"},
		{"OSC without an end", "a\x1b]52;c;cm0", "a␛]52;c;cm0"},
		{"OSC that is aborted", "a\x1b]0;\x18b\a", "a␛]0;␘b"},
		{"OSC with a colour in it", "a\x1b]0;\x1b[31mb\a", "a␛]0;\x1b[31mb\x1b[0m"},
		{"ESC at the end", "a\x1b", "a␛"},
		{"ESC twice", "a\x1b\x1b[2J", "a␛"},
		{"ESC and a control character", "a\x1b\x01[2Jb", "a␛␁[2Jb"},
		{"NUL and others", "a\x00\x01\x7fb\v\f", "a␀␁␡b␋␌"},
		{"bell and backspace", "a\a\bb", "ab"},
		{"newline", "a\nb", "a␊b"},
		{"not UTF-8", "a\xff\xfeb\xc3", "a��b�"},
		{"shift out", "a\x0eb", "a␎b"},
		{"progress", "10%\r20%\r100%", "100%"},
		{"progress in a colour", "\x1b[32m10%\r20%\x1b[0m", "\x1b[32m20%\x1b[0m"},
		{"carriage return at the end", "done\r", "done"},
		{"line erased behind a carriage return", "done\r\x1b[K", "done"},
		{"order turned around", "x\u202egnp.exe\u2066y\u200f\u061cz", `x\u202egnp.exe\u2066y\u200f\u061cz`},
		{"line ends of Unicode", "x\u2028[deploy] ok\u2029y", `x\u2028[deploy] ok\u2029y`},
		{"joiners of signs and letters", "\U0001f468\u200d\U0001f469 \u0645\u200c\u0646", "\U0001f468\u200d\U0001f469 \u0645\u200c\u0646"},
		{"another step's line", "x\r[deploy] succeeded", "[deploy] succeeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, logs.Sanitize(tt.in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSanitizerCarriesAttributesFromLineToLine(t *testing.T) {
	var s logs.Sanitizer
	for _, line := range []struct{ in, want string }{
		{"\x1b[1mbold", "\x1b[1mbold\x1b[0m"},
		{"still\x1b[31m, and red", "\x1b[1mstill\x1b[31m, and red\x1b[0m"},
		{"", "\x1b[1m\x1b[31m\x1b[0m"},
		{"x\x1b[0mplain", "\x1b[1m\x1b[31mx\x1b[0mplain"},
		{"plain", "plain"},
	} {
		if got := s.Line(line.in); got != line.want {
			t.Errorf("%q: got %q, want %q", line.in, got, line.want)
		}
	}
	for range 100 { // what is carried does not grow without end
		s.Line("\x1b[38;5;100mx")
	}
	if got := s.Line("x"); len(got) > 200 {
		t.Errorf("%d bytes for one character", len(got))
	}
}

var (
	colour  = regexp.MustCompile(`\x1b\[[0-9;:]*m`)
	harmful = regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f\x{80}-\x{9f}]`)
)

// FuzzSanitize looks for what a terminal obeys, whatever came before it on the same stream.
func FuzzSanitize(f *testing.F) {
	f.Add("\x1b[31mred", "\x1b[0m\x1b]0;t\a\x1b[2J")
	f.Add("a\x1b]52;c;", "YQ==\a")
	f.Add("a\x1b[3", "8;5;8mb\rc\u009b")
	f.Add("\xc2", "\x9b2J\x1bP\x1b\\")
	f.Fuzz(func(t *testing.T, first, second string) {
		var s logs.Sanitizer
		for _, in := range []string{first, second} {
			out := s.Line(in)
			if bare := colour.ReplaceAllString(out, ""); harmful.MatchString(bare) || !utf8.ValidString(out) {
				t.Errorf("%q becomes %q", in, out)
			}
			if again := logs.Sanitize(out); again != out {
				t.Errorf("%q becomes %q, and that %q", in, out, again)
			}
			if colour.MatchString(out) && !isReset(out) {
				t.Errorf("%q becomes %q, which leaves attributes behind", in, out)
			}
		}
	})
}

// isReset reports whether the last SGR sequence takes back all attributes.
func isReset(line string) bool {
	all := colour.FindAllString(line, -1)
	return strings.Trim(all[len(all)-1], "\x1b[0m") == ""
}
