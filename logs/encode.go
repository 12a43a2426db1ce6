package logs

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const lowerDigits, upperDigits = "0123456789abcdef", "0123456789ABCDEF"

// appendPercent appends a percent-encoding.
func appendPercent(dst []byte, s string, variant int) []byte {
	v, kept := &percentVariants[variant], &percentKept()[variant]
	digits := upperDigits
	if v.lower {
		digits = lowerDigits
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b == ' ' && v.plus && v.encodedTwice:
			dst = append(dst, '%', '2', digits[0xb])
		case b == ' ' && v.plus:
			dst = append(dst, '+')
		case kept.has(b):
			dst = append(dst, b)
		case v.encodedTwice:
			dst = append(dst, '%', '2', '5', digits[b>>4], digits[b&15])
		default:
			dst = append(dst, '%', digits[b>>4], digits[b&15])
		}
	}
	return dst
}

// appendJSON appends the inside of a JSON string.
func appendJSON(dst []byte, s string, v jsonVariant) []byte {
	digits := lowerDigits
	if v == jsonAllUnicodeUp {
		digits = upperDigits
	}
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = appendJSONRune(dst, s[i:i+size], r, v, digits)
			i += size
			continue
		}
		i++
		switch {
		case v >= jsonAllUnicode, v.isUnicode(b):
			dst = appendUnicode(dst, rune(b), digits)
		case b == '"', b == '\\', b == '/' && (v == jsonSlash || v == jsonASCIISlash):
			dst = append(dst, '\\', b)
		case b >= ' ':
			dst = append(dst, b)
		default:
			if named := strings.IndexByte("\b\f\n\r\t", b); named >= 0 {
				dst = append(dst, '\\', "bfnrt"[named])
			} else {
				dst = appendUnicode(dst, rune(b), digits)
			}
		}
	}
	return dst
}

// isUnicode reports whether a variant writes a character with \u that others do not.
func (v jsonVariant) isUnicode(b byte) bool {
	switch b {
	case '<', '>', '&':
		return v == jsonHTML || v == jsonHTMLQuotes
	case '"', '\'':
		return v == jsonHTMLQuotes
	}
	return false
}

// appendJSONRune appends a character outside of ASCII, which is part.
func appendJSONRune(dst []byte, part string, r rune, v jsonVariant, digits string) []byte {
	isASCII := v >= jsonAllUnicode || v == jsonASCII || v == jsonASCIISlash
	isValid := r != utf8.RuneError || len(part) > 1
	if !isASCII && isValid && r != '\u2028' && r != '\u2029' { // those two are escaped by JavaScript and Go
		return append(dst, part...)
	}
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return appendUnicode(appendUnicode(dst, high, digits), low, digits)
	}
	return appendUnicode(dst, r, digits)
}

// appendUnicode writes a UTF-16 unit as \u0061.
func appendUnicode(dst []byte, r rune, digits string) []byte {
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

func appendHex(dst []byte, s string, variant int, first bool) []byte {
	v := hexVariants[variant]
	digits := lowerDigits
	if v.upper {
		digits = upperDigits
	}
	for i := range len(s) {
		if !first || i > 0 || v.between == `\x` {
			dst = append(dst, v.between...)
		}
		dst = append(dst, digits[s[i]>>4], digits[s[i]&15])
	}
	return dst
}

func appendHTML(dst []byte, s string, quotes [2]string) []byte {
	for i := range len(s) {
		switch b := s[i]; b {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '"':
			dst = append(dst, quotes[0]...)
		case '\'':
			dst = append(dst, quotes[1]...)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// backslashed are the characters before which bash's printf %q puts a backslash.
const backslashed = " \t\"'`\\|&;()<>!{}*[]?^$,"

func appendShell(dst []byte, s string, v shellVariant, first bool) []byte {
	for i := range len(s) {
		b := s[i]
		switch {
		case v == shellQuoteBackslash && b == '\'':
			dst = append(dst, `'\''`...)
		case v == shellQuoteDouble && b == '\'':
			dst = append(dst, `'"'"'`...)
		case v == shellDouble && strings.IndexByte("\\\"$`", b) >= 0:
			dst = append(dst, '\\', b)
		case v == shellBackslash && (strings.IndexByte(backslashed, b) >= 0 || first && i == 0 && (b == '#' || b == '~')):
			dst = append(dst, '\\', b)
		case v == shellANSI:
			dst = appendANSI(dst, b)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// appendANSI writes a byte as inside of bash's $'...', which it uses for strings with control characters.
func appendANSI(dst []byte, b byte) []byte {
	const named = "\a\b\x1b\f\n\r\t\v\\'"
	const names = `abEfnrtv\'`
	switch i := strings.IndexByte(named, b); {
	case i >= 0:
		return append(dst, '\\', names[i])
	case b < ' ' || b == 0x7f:
		return append(dst, '\\', '0'+b>>6, '0'+b>>3&7, '0'+b&7)
	}
	return append(dst, b)
}
