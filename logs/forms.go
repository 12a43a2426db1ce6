package logs

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A form is one way in which tools write a secret down: as it is, or encoded. A form is applied piece
// by piece, so that the encodings of a long secret never exist as a whole: 1 MB of secrets with some
// twenty forms each would be 40 MB of text.
type form uint8

// The forms. Those with a range of numbers stand for a table of variants, which follow here. There is no form
// for what only puts escapes into a text (JSON, URLs, HTML, shells): unescaped takes them out of the output.
const (
	plainForm    form                                        = iota
	lowerForm                                                // in lower case, as in names of hosts
	base64First                                              // + 3 × alphabet + bytes in front of the secret in its group of three
	base64Whole  = base64First + 6                           // + 2 × alphabet + padding: the secret is all that is encoded
	base32First  = base64Whole + 4                           // + bytes in front of the secret in its group of five
	hexFirst     = base32First + 5                           // + index of hexVariants
	decimalFirst = hexFirst + form(len(hexVariants))         // + index of decimalVariants
	runesForm    = decimalFirst + form(len(decimalVariants)) // numbers of characters, as in JavaScript and jq
	lettersForm  = runesForm + 1                             // a list of characters: ['h', 'u'] in Python, JavaScript, Ruby
	formCount    = lettersForm + 1
)

// minBase64 is the shortest piece of base64 that is masked. Every secret of 5 bytes or more has one
// in all alignments; the 4 characters of a shorter secret would be found in ordinary words.
const minBase64 = 6

// minBase32 and minDecimal are the same for base32 and for lists of numbers.
const minBase32, minDecimal = 8, 8

// minLetters is four characters of a list.
const minLetters = 2*minSecret - 1

// piece is about how many bytes of a secret are encoded at once. It is a multiple of 3 and 5, for base64 and
// base32.
const piece = 195

// hexVariants are what stands between two bytes, and whether digits are in upper case. Spaces and the escape
// \x are gone from the text that is searched.
var hexVariants = [...]struct {
	between string
	upper   bool
}{
	{"", false}, // xxd -p, od -An -tx1, Go %x
	{"", true},
	{":", false}, // openssl
	{":", true},
	{",0x", false}, // xxd -i, Go %#v
	{",0x", true},
	{"-", false}, // Python's hex("-")
	{"-", true},  // .NET and PowerShell
}

// decimalVariants are what stands between the numbers of bytes.
var decimalVariants = [...]string{
	"",  // [104 117]: Go %v
	",", // [104, 117]: Python, JavaScript, Java
}

// formSet is a set of forms, a bit for each.
type formSet uint64

var _ [64 - formCount]struct{} // a formSet has room for all forms

func (s formSet) has(f form) bool { return s&(1<<f) != 0 }

// between is the forms from one to another one, which is not in it.
func between(from, to form) formSet { return 1<<to - 1<<from }

// all calls yield with every form of the set, in order.
func (s formSet) all(yield func(form) bool) {
	for ; s != 0; s &= s - 1 {
		if !yield(form(bits.TrailingZeros64(uint64(s)))) {
			return
		}
	}
}

// encodings returns the forms of a secret that do not show its characters.
func encodings(secret string) formSet {
	all := between(hexFirst, runesForm) | 1<<lettersForm
	if !isPrintableASCII(secret) {
		all |= 1 << runesForm
	}
	if len(secret) > 4 {
		all |= between(base64First, base64Whole) | between(base32First, hexFirst)
	}
	if len(secret)%3 != 0 {
		all |= between(base64Whole, base32First)
	}
	return all
}

// encode appends the form of a piece of a secret to dst: what begins at from and ends at the returned
// offset, which is len(secret) with the last piece. The pieces of a form put together are the form.
func (f form) encode(dst []byte, secret string, from int) (_ []byte, end int) {
	if f >= base64First && f < base32First {
		return f.encodeBase64(dst, secret, from)
	}
	if f >= base32First && f < hexFirst {
		return encodeBase32(dst, secret, from, int(f-base32First))
	}
	end = min(from+piece, len(secret))
	for end < len(secret) && !utf8.RuneStart(secret[end]) && end-from < piece+utf8.UTFMax {
		end++
	}
	part := secret[from:end]
	switch {
	case f == plainForm:
		return append(dst, part...), end
	case f == lowerForm:
		for i := range len(part) {
			dst = append(dst, lower(part[i]))
		}
		return dst, end
	case f < decimalFirst:
		return appendHex(dst, part, int(f-hexFirst), from == 0), end
	case f == runesForm || f == lettersForm:
		for i, r := range part {
			if i > 0 || from > 0 {
				dst = append(dst, ',')
			}
			if f == runesForm {
				dst = strconv.AppendUint(dst, uint64(r), 10)
			} else {
				dst = appendLetter(dst, r)
			}
		}
		return dst, end
	}
	for i := range len(part) {
		if i > 0 || from > 0 {
			dst = append(dst, decimalVariants[f-decimalFirst]...)
		}
		dst = strconv.AppendUint(dst, uint64(part[i]), 10)
	}
	return dst, end
}

// encodeBase64 is encode for what every base64 encoding (RFC 4648) of data that contains the secret has
// in common, in the standard and the URL alphabet: the secret may start at any of three positions in
// a group of three bytes, and the characters at its borders, which depend on its neighbours, are left
// out. Where the secret is all that is encoded, its last character is known too.
func (f form) encodeBase64(dst []byte, secret string, from int) ([]byte, int) {
	before, isURL, whole, padded := 0, false, false, false
	if f < base64Whole {
		before, isURL = int(f-base64First)%3, f-base64First >= 3
	} else {
		whole, isURL, padded = true, f-base64Whole >= 2, (f-base64Whole)%2 == 1
	}
	encoding := base64.RawStdEncoding
	if isURL {
		encoding = base64.RawURLEncoding
	}
	end := len(secret)
	if end-from > piece {
		end = from + piece
		if from == 0 {
			end -= before // from there on, pieces begin with a group
		}
	}
	var group [piece + 3]byte
	data := group[:0]
	if from == 0 {
		data = group[:before]
	}
	data = append(data, secret[from:end]...)
	start := len(dst)
	dst = encoding.AppendEncode(dst, data)
	if end == len(secret) && !whole {
		dst = dst[:start+len(data)*8/6]
	}
	if from == 0 {
		first := (before*8 + 5) / 6 // the first character that only the secret decides
		dst = slices.Delete(dst, start, min(start+first, len(dst)))
	}
	if end == len(secret) && padded {
		dst = append(dst, "=="[:padding(len(secret))]...)
	}
	return dst, end
}

// encodeBase32 is encode for base32 (RFC 4648), in the same way as encodeBase64, with before bytes in front of
// the secret. Characters that only bits of the secret decide are kept.
func encodeBase32(dst []byte, secret string, from, before int) ([]byte, int) {
	end := len(secret)
	if end-from > piece {
		end = from + piece
		if from == 0 {
			end -= before // from there on, pieces begin with a group
		}
	}
	var group [piece + 5]byte
	data := group[:0]
	if from == 0 {
		data = group[:before]
	}
	data = append(data, secret[from:end]...)
	start := len(dst)
	dst = base32.StdEncoding.WithPadding(base32.NoPadding).AppendEncode(dst, data)
	if end == len(secret) {
		dst = dst[:start+len(data)*8/5]
	}
	if from == 0 {
		dst = slices.Delete(dst, start, min(start+(before*8+4)/5, len(dst)))
	}
	return dst, end
}

// padding is how many "=" base64 puts behind n bytes.
func padding(n int) int { return (3 - n%3) % 3 }

// appendLetter appends a character as an unescaped text has it.
func appendLetter(dst []byte, r rune) []byte {
	if r >= utf8.RuneSelf {
		return append(dst, other)
	}
	if i := strings.IndexRune("\b\f\n\r\t", r); i >= 0 {
		return append(dst, "bfnrt"[i])
	}
	if classes[r] == left || r == '\\' {
		return dst
	}
	return append(dst, byte(r))
}

const lowerDigits, upperDigits = "0123456789abcdef", "0123456789ABCDEF"

func appendHex(dst []byte, s string, variant int, first bool) []byte {
	v := hexVariants[variant]
	digits := lowerDigits
	if v.upper {
		digits = upperDigits
	}
	for i := range len(s) {
		if !first || i > 0 {
			dst = append(dst, v.between...)
		}
		dst = append(dst, digits[s[i]>>4], digits[s[i]&15])
	}
	return dst
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

// searched is a piece of a form as the text has it that is searched for it. It may be p itself.
func (f form) searched(p []byte) []byte {
	if f > lowerForm {
		if bytes.IndexByte(p, '+') < 0 {
			return p
		}
		return bytes.ReplaceAll(p, []byte("+"), nil) // base64's only character that is left out of an unescaped text
	}
	return visibleBytes(p)
}

// shortest is the fewest bytes of a form that are searched: fewer would be found in ordinary text.
func (f form) shortest() int {
	switch {
	case f == lettersForm:
		return minLetters
	case f >= decimalFirst:
		return minDecimal
	case f >= hexFirst || f <= lowerForm:
		return minSecret
	case f >= base32First:
		return minBase32
	}
	return minBase64
}

// lines returns the lines of a secret that are worth masking on their own: "}" and "-----" are not.
func lines(secret string) []string {
	var all []string
	for line := range strings.Lines(secret) {
		line = strings.TrimSpace(line)
		if len(line) >= minSecret && strings.ContainsFunc(line, isWordRune) {
			all = append(all, line)
		}
	}
	return all
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
