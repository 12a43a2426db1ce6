package logs

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// quotings are the commonest ways to quote a secret of which too little is left in an unescaped text, each also within
// each other one.
func quotings(secret string) (all []string) {
	for _, quote := range quoters {
		once := quote(secret)
		if !slices.Contains(all, once) {
			all = append(all, once)
		}
		for _, again := range quoters {
			if twice := again(once); twice != once && !slices.Contains(all, twice) {
				all = append(all, twice)
			}
		}
	}
	return all
}

// quoters are ways to quote a text. None puts quotes around it.
var quoters = [...]func(string) string{
	func(s string) string { return inner(strconv.Quote(s)) },
	func(s string) string { return inner(strconv.QuoteToASCII(s)) },
	quoteJSON,
	html.EscapeString,
	func(s string) string {
		return strings.NewReplacer("&#34;", "&quot;", "&#39;", "&apos;").Replace(html.EscapeString(s))
	},
	func(s string) string {
		return strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(html.EscapeString(s))
	},
	func(s string) string { return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s) },
	url.QueryEscape,
	url.PathEscape,
	func(s string) string { return strings.ReplaceAll(s, "'", `'\''`) },
	func(s string) string { return strings.ReplaceAll(s, "'", `'"'"'`) },
	func(s string) string { return strings.ReplaceAll(s, "'", `''`) },
	func(s string) string { return strings.ReplaceAll(s, `"`, `""`) },
	func(s string) string { return strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) },
	func(s string) string { return escapeEach(s, isSpecial, `\%c`) },
	func(s string) string { return escapeEach(s, isSpecial, `\u%04x`) },
	func(s string) string { return escapeEach(s, isAny, `\u%04x`) },
	func(s string) string { return escapeBytes(s, isSpecial, `\%03o`) },
	func(s string) string { return escapeBytes(s, isAny, `\x%02x`) },
}

// quoteJSON quotes as Go, which takes care of HTML.
func quoteJSON(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // there is no text that cannot be JSON
	}
	return inner(string(text))
}

// inner is a text without its first and its last byte.
func inner(s string) string { return s[1 : len(s)-1] }

func isSpecial(r rune) bool { return r >= utf8.RuneSelf || !isWordRune(r) && r != '_' }

func isAny(rune) bool { return true }

// escapeEach writes some characters of a text in a format.
func escapeEach(s string, escaped func(rune) bool, format string) string {
	var out strings.Builder
	for _, r := range s {
		if escaped(r) {
			fmt.Fprintf(&out, format, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// escapeBytes writes the bytes of some characters of a text in a format.
func escapeBytes(s string, escaped func(rune) bool, format string) string {
	var out strings.Builder
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf || escaped(rune(s[i])) {
			fmt.Fprintf(&out, format, s[i])
		} else {
			out.WriteByte(s[i])
		}
	}
	return out.String()
}
