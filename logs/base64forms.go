package logs

import (
	"encoding/base64"
	"strings"
)

// minBase64 is the shortest piece of base64 that is masked. Every secret of 5 bytes or more has one
// in all alignments; the 4 characters of a shorter secret would be found in ordinary words.
const minBase64 = 6

// wrapColumns are the line lengths of base64(1) and MIME, and of PEM and openssl.
var wrapColumns = [...]int{76, 64}

// base64Forms returns what every base64 encoding (RFC 4648) of data that contains s has in common, in
// the standard and the URL alphabet: s may start at any of three positions in a group of three bytes,
// and the characters at its borders, which depend on its neighbours, are left out.
func base64Forms(s string) []string {
	var all []string
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := enc.EncodeToString([]byte(strings.Repeat("\x00", before) + s))
			from := (before*8 + 5) / 6      // the first character that only s decides
			to := (before + len(s)) * 8 / 6 // and the end of the last one
			if to-from >= minBase64 {
				all = append(all, text[from:to])
			}
			if before == 0 { // s may be all that is encoded: its last characters are then known, too
				all = append(all, wrapped(text[:to])...)
				if len(text) >= minBase64 {
					all = append(all, text, text+strings.Repeat("=", -len(text)&3))
				}
			}
		}
	}
	return all
}

// wrapped returns the lines of text as tools wrap it when s is all that they encode.
func wrapped(text string) []string {
	var lines []string
	for _, columns := range wrapColumns {
		if len(text) <= columns {
			continue
		}
		for rest := text; len(rest) >= minBase64; rest = rest[min(columns, len(rest)):] {
			lines = append(lines, rest[:min(columns, len(rest))])
		}
	}
	return lines
}
