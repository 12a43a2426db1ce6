package logs

import (
	"strings"
	"unicode/utf8"
)

// Quote makes a text safe to show that is not a step's own output: a name, an image, a file's name, a
// line of an error. It stays on its line and looks like nothing else:
//
//   - Control sequences go, colours too. Other control characters, line ends among them, are shown as
//     Unicode's pictures of them (␊), bytes that are not UTF-8 as �.
//   - Characters that end a line to some programs, order the text or have no width are written out, as
//     \u202e.
//   - What a runner of GitHub would obey gets a backslash: \::set-output, #\#[error].
//
// Quote leaves alone what it has quoted.
func Quote(text string) string {
	if !isHarmless(text) {
		text = quoted(text)
	} else if strings.IndexByte(text, '#') < 0 && strings.IndexByte(text, ':') < 0 { // as most names of steps
		return text
	}
	if strings.Contains(text, "##[") {
		text = strings.ReplaceAll(text, "##[", `#\#[`)
	}
	if bare := strings.TrimSpace(text); strings.HasPrefix(bare, "::") {
		text = text[:strings.Index(text, "::")] + `\` + bare
	}
	return text
}

// QuoteLines quotes each line of a text. With mark, which stands in front of all lines but the first, a
// line cannot pass for one that begins with something else.
func QuoteLines(text, mark string) string {
	if strings.IndexByte(text, '\n') < 0 {
		return Quote(text)
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Quote(lines[i])
		if i > 0 && !strings.HasPrefix(lines[i], mark) {
			lines[i] = mark + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

func quoted(text string) string {
	var out []byte
	for i := 0; i < len(text); {
		end, kind := token(text, i)
		switch kind {
		case carriageReturn:
			out = append(out, "␍"...)
		case printable:
			out = appendWrittenOut(out, text[i:end])
		case attributes, dropped:
		}
		i = end
	}
	return string(out)
}

// appendWrittenOut is appendPrintable, but writes out characters that nobody sees. The variation
// selectors stay: they only choose the look of a sign, as in ⚠️.
func appendWrittenOut(to []byte, text string) []byte {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r >= 0xa0 && isInvisible(r) && (r < 0xfe00 || r > 0xfe0f), r >= 0xe0000 && r <= 0xe0fff:
			to = appendEscape(to, r)
		default:
			to = appendPrintable(to, text[i:i+size])
		}
		i += size
	}
	return to
}
