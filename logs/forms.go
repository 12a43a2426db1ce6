package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// forms lists the byte strings that give secret away and that are therefore masked:
//
//   - the secret itself, also without the white space around it, and with "\r\n" for "\n", which is
//     how a terminal shows it;
//   - of a secret of several lines every line that has at least 4 bytes and a letter or digit;
//   - its base64 (see base64Forms), URL and JSON encodings and shell quotings.
//
// A secret that is wrapped or cut up otherwise (fold, rev, hexdump) is not found.
func forms(secret string) []string {
	var all []string
	for _, s := range []string{secret, strings.TrimSpace(secret)} {
		all = append(all, s, strings.ReplaceAll(s, "\n", "\r\n"))
		all = append(all, base64Forms(s)...)
		all = append(all, urlForms(s)...)
		all = append(all, jsonForms(s)...)
		all = append(all, shellForms(s)...)
	}
	if strings.Contains(secret, "\n") {
		all = append(all, lineForms(secret)...)
	}
	return all
}

// lineForms returns the lines of secret that are worth masking on their own: "}" and "-----" are not.
func lineForms(secret string) []string {
	var lines []string
	for line := range strings.Lines(secret) {
		line = strings.TrimSpace(line)
		if len(line) >= minSecret && strings.ContainsFunc(line, isWordRune) {
			lines = append(lines, line)
		}
	}
	return lines
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// urlForms percent-encodes s (RFC 3986, section 2.1) in the ways that differ between languages, with
// upper and lower case hexadecimal digits.
func urlForms(s string) []string {
	var all []string
	for _, keep := range []string{
		"",                 // Go url.QueryEscape, curl, jq @uri
		"$&+=:@",           // Go url.PathEscape
		"$&+,;=",           // user and password in a Go url.URL
		"/",                // Python urllib.parse.quote
		"!'()*",            // JavaScript encodeURIComponent
		";/?:@&=+$,#!'()*", // JavaScript encodeURI
	} {
		for _, format := range []string{"%%%02X", "%%%02x"} {
			escaped := escapeBytes(s, format, func(b byte) bool { return isUnreserved(b) || strings.IndexByte(keep, b) >= 0 })
			all = append(all, escaped, strings.ReplaceAll(escaped, "%20", "+"))
		}
	}
	return all
}

func isUnreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-._~", b) >= 0
}

func escapeBytes(s, format string, keep func(byte) bool) string {
	var out strings.Builder
	for _, b := range []byte(s) {
		if keep(b) {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, format, b)
		}
	}
	return out.String()
}

// jsonForms returns s as the inside of a JSON string (RFC 8259, section 7): plain, with "<", ">" and
// "&" escaped for HTML, with all non-ASCII escaped (Python's default), and with "\/" (PHP's default).
func jsonForms(s string) []string {
	plain, html := jsonString(s, false), jsonString(s, true)
	return []string{plain, html, escapeNonASCII(plain), strings.ReplaceAll(plain, "/", `\/`)}
}

func jsonString(s string, escapeHTML bool) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(escapeHTML)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always has an encoding
	}
	return strings.TrimSuffix(out.String()[1:], "\"\n")
}

func escapeNonASCII(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		}
	}
	return out.String()
}
