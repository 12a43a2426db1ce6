package logs_test

import (
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stepexec/stepexec/logs"
)

// quoters are ways in which tools quote a text.
var quoters = map[string]func(string) string{
	"JSON":        func(s string) string { return inner1(asJSON(s)) },
	"Go":          func(s string) string { return inner1(strconv.Quote(s)) },
	"Go, ASCII":   func(s string) string { return inner1(strconv.QuoteToASCII(s)) },
	"HTML":        html.EscapeString,
	"URL, query":  url.QueryEscape,
	"URL, path":   url.PathEscape,
	"JSON, all":   func(s string) string { return each(s, `\u%04x`) },
	"shell":       func(s string) string { return strings.ReplaceAll(s, "'", `'\''`) },
	"backslashes": func(s string) string { return regexp.MustCompile(`[^\w\t]`).ReplaceAllString(s, `\$0`) },
	"octal": func(s string) string {
		return regexp.MustCompile(`[^\w\t]`).ReplaceAllStringFunc(s, func(c string) string { return octal(c) })
	},
	"not at all": func(s string) string { return s },
}

func inner1(s string) string { return s[1 : len(s)-1] }

func each(s, format string) string {
	var out strings.Builder
	for _, r := range s {
		fmt.Fprintf(&out, format, r)
	}
	return out.String()
}

func octal(s string) string {
	var out strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&out, `\%03o`, s[i])
	}
	return out.String()
}

// Whatever stands in front of a quoted secret and behind it, nothing of the secret is left: neither where an escape
// seems to begin in front of it, nor where one in the secret seems to go on behind it.
func TestMaskFindsQuotedSecretsBetweenAnything(t *testing.T) {
	rnd := rand.New(rand.NewPCG(21, 22))
	pieces := []string{"a", "be", "41", "101", "x41", "u0041", "lt;", "#65;", "amp;", "25", "%", "%4", "%25", `\`, `\x`, `\1`, `\10`, `\u00`, "&", "&#", "&l", "&amp;", "/", "=", "é", "ü", "_", "z", `"`, "'", "<", " ", "$", "+"}
	neighbours := []string{"", "-", `\`, `\\`, "%", "%2", "%25", "%252", `\x`, `\x4`, `\1`, `\12`, `\u`, `\u00e`, "%u", "%u00", "&", "&amp", "&amp;", "&#", "&#1", "&#x", "&l", "é", "%c3", "41", "2", "x41", "lt;", "#65;", ";", "u0041", "101", "ü", "%20", `\xfc`, `\"`, "&lt;"}
	some := func(from []string, n int) (s string) {
		for range n {
			s += from[rnd.IntN(len(from))]
		}
		return s
	}
	for range 1000 {
		// No quotes stand at its ends: of what quotes them something is left over.
		secret := some(pieces[:11], 1) + some(pieces, 3+rnd.IntN(6)) + "keys" + some(pieces, rnd.IntN(5)) + some(pieces[:22], 1)
		core := strings.Trim(secret, " '\"$+\\\n")
		if len(core) < 12 || core != secret || utf8.RuneCountInString(core) < 12 {
			continue
		}
		mask := logs.NewMask([]string{secret})
		for name, quote := range quoters {
			before, behind := some(neighbours, rnd.IntN(3)), some(neighbours, rnd.IntN(3))
			in := before + quote(secret) + behind
			got := mask.String(in)
			cut := rnd.IntN(len(in) + 1)
			if parts := maskWrites(t, mask, in[:cut], in[cut:]); parts != got {
				t.Fatalf("%s: secret %q in %q becomes %q, but %q if cut at %d", name, secret, in, got, parts, cut)
			}
			first, last := strings.Index(got, "***"), strings.LastIndex(got, "***")
			if first < 0 || first != last || !strings.HasPrefix(before, strings.TrimRight(got[:first], `\`)) || !strings.HasSuffix(behind, got[last+3:]) {
				t.Fatalf("%s: secret %q in %q becomes %q", name, secret, in, got)
			}
		}
	}
}
