package logs

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// source is a text that is searched, and in which forms.
type source struct {
	text  string
	forms formSet
	short string // in an unescaped text, the secret that a match must have the size of; "": any match counts

	// isOpen says that the secret goes on with the beginning of an escape, which what follows it in the text may
	// complete. A match includes that.
	isOpen bool
}

// indexes are what is searched for.
type indexes struct {
	visible   *index // in the visible text: secrets as they are, unless the other search finds them whole
	unescaped *index // in the unescaped text: secrets without what quoting changes, and their encodings
}

// newIndexes returns the indexes of secrets, and of lines of secrets.
func newIndexes(secrets []secret) *indexes {
	visible, unescaped := make([]source, 0, len(secrets)), make([]source, 0, 2*len(secrets))
	const asIs, inLower = formSet(1) << plainForm, formSet(1)<<plainForm | 1<<lowerForm
	for _, s := range secrets {
		bare := readings(s.text)
		forms := formSet(asIs)
		if !s.line {
			if strings.ToLower(s.text) != s.text {
				forms = inLower
			}
			unescaped = append(unescaped, source{text: s.text, forms: encodings(s.text)})
			for _, text := range writtenControls(s.text) {
				unescaped = append(unescaped, readings(text)...)
			}
		}
		if shortest(bare) < minSecret {
			for _, text := range quotings(s.text) {
				visible = append(visible, source{text: text, forms: asIs})
			}
		}
		if isBare(s.text) {
			bare[0].forms = forms
		} else {
			visible = append(visible, source{text: s.text, forms: forms})
		}
		unescaped = append(unescaped, bare...)
	}
	return &indexes{newIndex(visible), newIndex(unescaped)}
}

// isBare reports whether a secret that stands in a text as it is stands in the unescaped text as well, from its first
// byte to its last. The measured reason for searching only there: most secrets are letters and digits, and to search
// twice takes a third longer.
func isBare(secret string) bool {
	return isPrintableASCII(secret) && !strings.ContainsAny(secret, escapes) &&
		classes[secret[0]] == kept && classes[secret[len(secret)-1]] == kept
}

// readings are what an unescaped text may have of a secret: its own unescaped text first, and others if it contains
// escapes itself, or ends with what may be the beginning of one. A tool that writes "%41" as "\u002541" escapes nothing
// but the percent sign, so the number behind it stays a number; and "%" in front of "41" is an escape if the secret ends
// between them.
func readings(secret string) []source {
	size := strings.TrimFunc(secret, func(r rune) bool { return r < utf8.RuneSelf && (classes[r] == left || r == '\\') })
	all := []source{bareSource(bareText(secret, ""), size)}
	parts := strings.FieldsFunc(secret, isControl)
	if strings.ContainsFunc(secret, isControl) {
		all = appendOnce(all, bareSource(bareParts(parts, ""), size))
	}
	if !strings.ContainsAny(secret, escapes) {
		return all
	}
	u, visible := unescaped{run: -1}, visibleBytes([]byte(secret))
	u.read(visible, false)
	isOpen := u.next < len(visible)
	if len(all) == 1 && bareText(secret, escapes) == all[0].text && !isOpen {
		return all // nothing in it is an escape
	}
	for set := range 1 << len(escapes) {
		literally := ""
		for i := range len(escapes) {
			if set>>i&1 != 0 {
				literally += escapes[i : i+1]
			}
		}
		all = appendReadings(all, string(visible), literally, size, false)
		all = appendOnce(all, bareSource(bareParts(parts, literally), size))
		if isOpen {
			all = appendReadings(all, string(visible[:u.next]), literally, "", true)
		}
	}
	return all
}

// appendReadings appends what bareText returns for a visible text, and, if its first character is an escape for one that
// is left out, which would not be masked, what it returns with that one taken literally. Each reading stands once.
func appendReadings(to []source, visible, literally, size string, isOpen bool) []source {
	texts := []string{bareText(visible, literally)}
	if visible != "" {
		if c, n := unit([]byte(visible), true); n > 1 && classes[c] == left {
			first := string(appendLiterally(nil, []byte(visible[:n])))
			texts = append(texts, first+bareText(visible[n:], literally))
		}
	}
	for _, text := range texts {
		s := bareSource(text, size)
		s.isOpen = isOpen
		to = appendOnce(to, s)
	}
	return to
}

func appendOnce(to []source, s source) []source {
	if slices.Contains(to, s) {
		return to
	}
	return append(to, s)
}

// bareParts is bareText of a secret with control characters, whose parts between them are given. Most tools write
// something for a control character, so that it begins no sequence, and no escape goes on behind it.
func bareParts(parts []string, literally string) string {
	var text strings.Builder
	for _, part := range parts {
		text.WriteString(bareText(part, literally))
	}
	return text.String()
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// bareSource is a reading of a secret. A match of a short one must have the size of a text.
func bareSource(reading, size string) source {
	s := source{text: reading, forms: 1 << plainForm}
	if len(s.text) < longEnough {
		s.short = size
	}
	return s
}

// shortest is the length of the shortest of some sources, in bytes.
func shortest(sources []source) int {
	n := len(sources[0].text)
	for i := range sources {
		n = min(n, len(sources[i].text))
	}
	return n
}

// bareText is a secret as an unescaped text has it. The characters in literally begin no escape.
func bareText(secret, literally string) string {
	if !strings.ContainsFunc(secret, func(r rune) bool { return r >= utf8.RuneSelf || classes[r] != kept }) {
		return secret
	}
	visible := visibleBytes([]byte(secret))
	text, run := make([]byte, 0, len(visible)), false
	for n := 0; len(visible) > 0; visible = visible[n:] {
		var c byte
		if c, n = visible[0], 1; strings.IndexByte(literally, c) < 0 {
			c, n = unit(visible, true)
		}
		switch k := classes[c]; {
		case k == notASCII && !run:
			text, run = append(text, other), true
		case k == kept || k == begins && c != '\\':
			text, run = append(text, c), false
		}
	}
	return string(text)
}

// escapes are the characters that escapes begin with.
const escapes = `\%&`

// longest is the length of the longest secret, in bytes.
func (x *indexes) longest() int {
	longest := 0
	for i := range x.visible.sources {
		longest = max(longest, len(x.visible.sources[i].text))
	}
	return longest
}

// writtenControls are a secret with the letters by which tools call control characters, in each way in which that
// differs from it: JSON; C, Go and Python; bash.
func writtenControls(secret string) (all []string) {
	for _, letters := range controlLetters {
		if text := letters.Replace(secret); text != secret && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

var controlLetters = [...]*strings.Replacer{
	strings.NewReplacer("\b", "b", "\f", "f", "\n", "n", "\r", "r", "\t", "t"),
	strings.NewReplacer("\b", "b", "\f", "f", "\n", "n", "\r", "r", "\t", "t", "\a", "a", "\v", "v"),
	strings.NewReplacer("\b", "b", "\f", "f", "\n", "n", "\r", "r", "\t", "t", "\a", "a", "\v", "v", "\x1b", "E"),
}

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
