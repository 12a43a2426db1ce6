package logs

import (
	"bytes"
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// source is a text that is searched, and in which forms.
type source struct {
	text  string
	forms formSet
	short string // in an unescaped text, the secret that a match must have the size of; "": any match counts
}

// indexes are what is searched for.
type indexes struct {
	visible   *index // in the visible text: secrets as they are
	unescaped *index // in the unescaped text: secrets without what quoting changes, and their encodings
}

// newIndexes returns the indexes of secrets, and of lines of secrets.
func newIndexes(secrets []secret) *indexes {
	visible, unescaped := make([]source, 0, len(secrets)), make([]source, 0, 2*len(secrets))
	const asIs, inLower = formSet(1) << plainForm, formSet(1)<<plainForm | 1<<lowerForm
	for _, s := range secrets {
		bare := bareSource(s.text, asIs)
		forms := formSet(asIs)
		if !s.line {
			if strings.ToLower(s.text) != s.text {
				forms = inLower
			}
			unescaped = append(unescaped, source{text: s.text, forms: encodings(s.text)})
			if letters := controlLetters.Replace(s.text); letters != s.text {
				unescaped = append(unescaped, source{text: bareText(letters), forms: asIs})
			}
		}
		if len(bare.text) < minSecret {
			for _, text := range quotings(s.text) {
				visible = append(visible, source{text: text, forms: asIs})
			}
		}
		visible, unescaped = append(visible, source{text: s.text, forms: forms}), append(unescaped, bare)
	}
	return &indexes{newIndex(visible), newIndex(unescaped)}
}

// bareSource is a secret without what quoting changes.
func bareSource(secret string, forms formSet) source {
	s := source{text: bareText(secret), forms: forms}
	if len(s.text) < longEnough {
		s.short = strings.TrimFunc(secret, func(r rune) bool { return r < utf8.RuneSelf && (classes[r] == left || r == '\\') })
	}
	return s
}

func bareText(secret string) string {
	if !strings.ContainsFunc(secret, func(r rune) bool { return r >= utf8.RuneSelf || classes[r] != kept }) {
		return secret
	}
	return string(unescape(visibleBytes([]byte(secret))))
}

// longest is the length of the longest secret, in bytes.
func (x *indexes) longest() int {
	longest := 0
	for i := range x.visible.sources {
		longest = max(longest, len(x.visible.sources[i].text))
	}
	return longest
}

// quotings are the commonest ways to quote a secret of which too little is left in an unescaped text.
func quotings(secret string) []string {
	var shell strings.Builder
	for i := range len(secret) {
		if secret[i] < utf8.RuneSelf && classes[secret[i]] != kept {
			shell.WriteByte('\\')
		}
		shell.WriteByte(secret[i])
	}
	return []string{
		shell.String(), strings.Trim(strconv.Quote(secret), `"`), html.EscapeString(secret),
		url.QueryEscape(secret), url.PathEscape(secret), strings.ReplaceAll(secret, "'", `'\''`),
	}
}

// controlLetters has the letters by which JSON, shells and programming languages call control characters.
var controlLetters = strings.NewReplacer("\b", "b", "\f", "f", "\n", "n", "\r", "r", "\t", "t")

// longEnough is the length from which a text without spaces and quotes is no accident. A shorter one must
// stand there without more spaces than the secret has: "test" does not stand in "a plate started".
const longEnough = 12

// admits reports whether what was found in an unescaped text is the source: the visible text of it, and how many
// bytes of the stream it takes.
func (s *source) admits(found []byte, size int) bool {
	if s.short == "" {
		return true
	}
	return size >= len(s.short) && (bytes.IndexByte(found, ' ') < 0 || strings.Contains(s.short, " "))
}
