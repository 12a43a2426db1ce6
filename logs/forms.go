package logs

import (
	"encoding/base64"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A form is one way in which tools write a secret down: as it is, or encoded. A form is applied piece
// by piece, so that the encodings of a long secret never exist as a whole: 1 MB of secrets with some
// sixty forms each would be 100 MB of text.
type form uint8

// The forms. Those with a range of numbers stand for a table of variants, which follow here.
const (
	plainForm    form                                        = iota
	base64First                                              // + 3 × alphabet + bytes in front of the secret in its group of three
	base64Whole  = base64First + 6                           // + 2 × alphabet + padding: the secret is all that is encoded
	percentFirst = base64Whole + 4                           // + index of percentVariants
	jsonFirst    = percentFirst + form(len(percentVariants)) // + jsonVariant
	hexFirst     = jsonFirst + form(jsonVariantCount)        // + index of hexVariants
	htmlFirst    = hexFirst + form(len(hexVariants))         // + index of htmlVariants
	shellFirst   = htmlFirst + form(len(htmlVariants))       // + shellVariant
	formCount    = shellFirst + form(shellVariantCount)

	unicodeFirst = jsonFirst + form(jsonAllUnicode) // from here to hexFirst every character is escaped
)

// minBase64 is the shortest piece of base64 that is masked. Every secret of 5 bytes or more has one
// in all alignments; the 4 characters of a shorter secret would be found in ordinary words.
const minBase64 = 6

// piece is about how many bytes of a secret are encoded at once. It is a multiple of 3, for base64.
const piece = 192

// percentVariant is a way of percent-encoding (RFC 3986, section 2.1). They differ between languages.
type percentVariant struct {
	keep         string // characters beside the unreserved ones that stay as they are
	lower        bool   // hexadecimal digits in lower case
	plus         bool   // a space is "+"
	encodedTwice bool
}

var percentVariants = [...]percentVariant{
	{keep: ""},                 // Go url.QueryEscape and curl; jq @uri
	{keep: "$&+=:@"},           // Go url.PathEscape
	{keep: "$&+,;="},           // user and password in a Go url.URL
	{keep: "/"},                // Python urllib.parse.quote
	{keep: "!'()*"},            // JavaScript encodeURIComponent
	{keep: ";/?:@&=+$,#!'()*"}, // JavaScript encodeURI
	{keep: "", lower: true},    // .NET, older Java and C programs
	{keep: "/", lower: true},   //
	{keep: "!'()*", lower: true},
	{keep: "", plus: true}, // forms of HTML: Go url.QueryEscape, Java URLEncoder
	{keep: "/", plus: true},
	{keep: "*", plus: true}, // URLSearchParams
	{keep: "", lower: true, plus: true},
	{keep: "", encodedTwice: true}, // a URL that is a parameter of another URL
	{keep: "/", encodedTwice: true},
	{keep: "!'()*", encodedTwice: true},
	{keep: "", lower: true, encodedTwice: true},
	{keep: "", plus: true, encodedTwice: true},
}

// jsonVariant is a way of writing the inside of a JSON string (RFC 8259, section 7).
type jsonVariant int

const (
	jsonPlain        jsonVariant = iota
	jsonHTML                     // "<", ">" and "&" as \u003c: Go's default
	jsonHTMLQuotes               // and the quotes as well: PHP's JSON_HEX_QUOT, Jackson for HTML
	jsonASCII                    // everything outside ASCII as \u00e4: Python's default
	jsonSlash                    // "\/": PHP's default
	jsonASCIISlash               //
	jsonAllUnicode               // every character as \u0061, with digits in lower case
	jsonAllUnicodeUp             // and in upper case
	jsonVariantCount
)

// hexVariants are what stands between two bytes, and whether digits are in upper case.
var hexVariants = [...]struct {
	between string
	upper   bool
}{
	{"", false},  // xxd -p, sha256sum's relatives, Go %x
	{"", true},   // Go %X
	{" ", false}, // od -An -tx1
	{" ", true},
	{":", false}, // openssl
	{":", true},
	{`\x`, false}, // \x61\x62, as C, Python and bash write bytes
	{`\x`, true},
}

// htmlVariants are the entities for quotes: the other ones are the same everywhere.
var htmlVariants = [...][2]string{ // of " and '
	{"&#34;", "&#39;"},   // Go, Python's markupsafe
	{"&quot;", "&#x27;"}, // Python html.escape
	{"&quot;", "&#39;"},  // Ruby, Django
	{"&quot;", "&apos;"}, // XML
	{"&quot;", "&#039;"}, // PHP
	{`"`, "'"},           // text outside of attributes
}

// shellVariant is a way in which a shell quotes a word, which is what `set -x`, `export -p` and printf %q
// print. The outer quotes are left out.
type shellVariant int

const (
	shellQuoteBackslash shellVariant = iota // it'\''s: bash, busybox ash, coreutils
	shellQuoteDouble                        // it'"'"'s: dash, Python shlex.quote
	shellDouble                             // "\$x": export -p
	shellBackslash                          // printf %q: a\ b
	shellANSI                               // $'a\nb': bash
	shellVariantCount
)

func isUnreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-._~", b) >= 0
}

// byteSet is a set of byte values.
type byteSet [4]uint64

func (s *byteSet) add(b byte)      { s[b>>6] |= 1 << (b & 63) }
func (s *byteSet) has(b byte) bool { return s[b>>6]&(1<<(b&63)) != 0 }
func bytesOf(s string) (set byteSet) {
	for i := range len(s) {
		set.add(s[i])
	}
	return set
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

// formsOf returns the forms of a secret that differ from it and, as far as is cheap to tell, from each
// other: a secret of letters and digits is not changed by percent-encoding, nor quoted by a shell.
func formsOf(secret string) formSet {
	set := bytesOf(secret)
	all := formSet(1)<<plainForm | between(unicodeFirst, htmlFirst)
	if len(secret) > 4 {
		all |= between(base64First, base64Whole)
	}
	if len(secret)%3 != 0 {
		all |= between(base64Whole, percentFirst)
	}
	if set.isWord() {
		return all
	}
	all |= percentForms(&set)
	for v := range jsonAllUnicode {
		if jsonChanges(v, set) {
			all |= 1 << (jsonFirst + form(v))
		}
	}
	switch {
	case containsAny(set, `"'`):
		all |= between(htmlFirst, shellFirst)
	case containsAny(set, "&<>"):
		all |= 1 << htmlFirst // the others write only quotes in other ways
	}
	for v := range shellVariantCount {
		if shellChanges(v, set) {
			all |= 1 << (shellFirst + form(v))
		}
	}
	return all
}

// percentForms returns the percent-encodings that change a text of these bytes, one of those that change it
// in the same way.
func percentForms(set *byteSet) (forms formSet) {
	var escaped [len(percentVariants)]byteSet
	kept := percentKept()
	hasSpace := set.has(' ')
	for i := range percentVariants {
		v := &percentVariants[i]
		for word := range set {
			escaped[i][word] = set[word] &^ kept[i][word]
		}
		isNew := escaped[i] != byteSet{}
		for k := 0; isNew && k < i; k++ {
			o := &percentVariants[k]
			same := o.lower == v.lower && o.encodedTwice == v.encodedTwice && (o.plus == v.plus || !hasSpace)
			isNew = !same || escaped[k] != escaped[i]
		}
		if isNew {
			forms |= 1 << (percentFirst + form(i))
		}
	}
	return forms
}

// percentKept is what each of percentVariants keeps.
var percentKept = sync.OnceValue(func() *[len(percentVariants)]byteSet {
	var all [len(percentVariants)]byteSet
	for i := range percentVariants {
		for b := range 256 {
			if isUnreserved(byte(b)) || strings.IndexByte(percentVariants[i].keep, byte(b)) >= 0 {
				all[i].add(byte(b))
			}
		}
	}
	return &all
})

func containsAny(set byteSet, chars string) bool {
	for i := range len(chars) {
		if set.has(chars[i]) {
			return true
		}
	}
	return false
}

// isWord reports whether a set has only letters, digits, "-", "." and "_", which no form but an encoding of
// every byte changes.
func (s *byteSet) isWord() bool {
	const low = 1<<'-' | 1<<'.' | (1<<10-1)<<'0'
	const high = 1<<('_'-64) | (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)
	return s[0]&^low|s[1]&^high|s[2]|s[3] == 0
}

// isASCII reports whether a set has no byte from 0x80 on.
func (s *byteSet) isASCII() bool { return s[2]|s[3] == 0 }

func jsonChanges(v jsonVariant, set byteSet) bool {
	escaped := set[0]&(1<<' '-1) != 0 || containsAny(set, `"\`)
	switch v {
	case jsonPlain:
		return escaped
	case jsonHTML:
		return containsAny(set, "<>&")
	case jsonHTMLQuotes:
		return containsAny(set, `<>&"'`)
	case jsonASCII:
		return !set.isASCII()
	case jsonSlash:
		return containsAny(set, "/")
	case jsonASCIISlash:
		return !set.isASCII() && containsAny(set, "/")
	}
	return true
}

func shellChanges(v shellVariant, set byteSet) bool {
	switch v {
	case shellQuoteBackslash, shellQuoteDouble:
		return set.has('\'')
	case shellDouble:
		return containsAny(set, "\\\"$`")
	case shellBackslash:
		return containsAny(set, backslashed+"#~")
	}
	return set[0]&(1<<' '-1) != 0 || set.has(0x7f) || containsAny(set, `\'`)
}

// encode appends the form of a piece of a secret to dst: what begins at from and ends at the returned
// offset, which is len(secret) with the last piece. The pieces of a form put together are the form.
func (f form) encode(dst []byte, secret string, from int) (_ []byte, end int) {
	if f >= base64First && f < percentFirst {
		return f.encodeBase64(dst, secret, from)
	}
	end = min(from+piece, len(secret))
	for end < len(secret) && !utf8.RuneStart(secret[end]) && end-from < piece+utf8.UTFMax {
		end++
	}
	part := secret[from:end]
	switch {
	case f == plainForm:
		return append(dst, part...), end
	case f < jsonFirst:
		return appendPercent(dst, part, int(f-percentFirst)), end
	case f < hexFirst:
		return appendJSON(dst, part, jsonVariant(f-jsonFirst)), end
	case f < htmlFirst:
		return appendHex(dst, part, int(f-hexFirst), from == 0), end
	case f < shellFirst:
		return appendHTML(dst, part, htmlVariants[f-htmlFirst]), end
	}
	return appendShell(dst, part, shellVariant(f-shellFirst), from == 0), end
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

// padding is how many "=" base64 puts behind n bytes.
func padding(n int) int { return (3 - n%3) % 3 }

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
