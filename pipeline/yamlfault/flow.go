package yamlfault

import (
	"fmt"
	"strings"
)

// bracket is an open [ or {.
type bracket struct {
	at    int  // where it is
	item  bool // something has been read since the last comma or colon
	colon bool // a colon has been read since the last comma
}

// flow reads a list or map in brackets.
func (f *finder) flow(parent int) bool {
	var open []bracket
	doubt := -1    // an open bracket: a line since is indented no deeper than what it belongs to
	plain := false // what was read last is a text without quotes, which may go on in the next line
	fail := func(at int, message, hint string) bool {
		if doubt >= 0 {
			at = doubt
			message, hint = f.notClosedBracket(at)
		}
		return f.fail(at, message, hint)
	}
	for {
		newLine, ended := f.space()
		if ended {
			at := open[len(open)-1].at
			message, hint := f.notClosedBracket(at)
			return fail(at, message, hint)
		}
		c := f.text[f.at]
		if newLine && doubt < 0 && f.at-f.line <= parent && c != ']' && c != '}' {
			doubt = open[len(open)-1].at
		}
		last := &bracket{}
		if len(open) > 0 {
			last = &open[len(open)-1]
		}
		if goesOn := plain && newLine && !f.noted && strings.IndexByte(",[]{}", c) < 0 && !(c == ':' && f.blankAt(f.at+1)); goesOn {
			f.plainInFlow()
			continue
		}
		plain = false
		if last.item && strings.IndexByte(",:]}", c) < 0 {
			return fail(f.at, "a comma is missing before this", "put commas between items and keys in brackets, and texts with quotes or brackets in quotes")
		}
		switch {
		case c == '[', c == '{':
			if len(open) >= mostLevels {
				return false
			}
			open = append(open, bracket{at: f.at})
			f.at++
			continue
		case c == ']', c == '}':
			if f.text[last.at] != c-2 { // [ and ], { and } are two apart
				return fail(last.at, fmt.Sprintf("the %c is not closed before the %c that follows", f.text[last.at], c), fmt.Sprintf("close it with %c", f.text[last.at]+2))
			}
			if doubt == last.at {
				doubt = -1
			}
			open = open[:len(open)-1]
			f.at++
			if len(open) == 0 {
				return true
			}
			last = &open[len(open)-1]
		case c == ',':
			if !last.item && !last.colon {
				return fail(f.at, "nothing stands before the comma", "remove it, or put the text in quotes")
			}
			*last = bracket{at: last.at}
			f.at++
			continue
		case c == ':' && (f.blankAt(f.at+1) || last.item || strings.IndexByte(",[]{}", f.text[f.at+1]) >= 0):
			if last.colon {
				return fail(f.at, "this is the second colon of one entry", "put commas between the keys, and texts with colons in quotes")
			}
			last.item, last.colon = false, true
			f.at++
			continue
		case c == '?' && f.blankAt(f.at+1):
			return false
		case c == '"', c == '\'':
			start := f.at
			if !f.quoted() {
				if doubt >= 0 {
					f.message = ""
					return fail(doubt, "", "")
				}
				return false
			}
			if f.at < len(f.text) && !f.blankAt(f.at) && strings.IndexByte(",:]}", f.text[f.at]) < 0 && strings.Contains(f.text[start:f.at], "\n") {
				return f.notClosed(start)
			}
		case c == '*':
			if !f.alias(true) {
				return false
			}
		case c == '&', c == '!':
			for f.at++; !f.blankAt(f.at) && strings.IndexByte(",[]{}", f.text[f.at]) < 0; f.at++ {
				continue
			}
			if c == '&' {
				start := strings.LastIndexByte(f.text[:f.at], '&')
				f.anchors[f.text[start+1:f.at]] = true
			}
			continue
		case strings.IndexByte("@`%|>", c) >= 0, c == '-' && f.blankAt(f.at+1):
			return fail(f.at, fmt.Sprintf("a text without quotes cannot begin with %c in brackets", c), "put it in quotes")
		default:
			f.plainInFlow()
			plain = true
		}
		last.item = true
	}
}

// plainInFlow reads a text without quotes in brackets, which may go on in further lines.
func (f *finder) plainInFlow() {
	for ; f.at < len(f.text); f.at++ {
		switch c := f.text[f.at]; {
		case strings.IndexByte(",[]{}", c) >= 0, c == '\n':
			return
		case c == ':' && (f.blankAt(f.at+1) || strings.IndexByte(",[]{}", f.text[f.at+1]) >= 0):
			return
		case c == '#' && isBlank(f.text[f.at-1]):
			return
		}
	}
}

// space skips white space and comments. newLine: a line has ended; ended: the document has.
func (f *finder) space() (newLine, ended bool) {
	f.noted = false
	for f.at < len(f.text) {
		switch c := f.text[f.at]; {
		case c == '\n':
			f.at++
			f.line, newLine = f.at, true
			if f.marker(f.at) {
				return newLine, true
			}
		case isBlank(c):
			f.at++
		case c == '#' && (f.at == f.line || isBlank(f.text[f.at-1])):
			f.at, f.noted = f.lineEnd(), true
		default:
			return newLine, false
		}
	}
	return newLine, true
}

func (f *finder) notClosedBracket(at int) (message, hint string) {
	open := f.text[at]
	return fmt.Sprintf("the %c is not closed", open), fmt.Sprintf("close it with %c, or put the text in quotes if %c does not begin a %s", open+2, open, map[byte]string{'[': "list", '{': "map"}[open])
}

// notClosed is the fault of a quote that has no end.
func (f *finder) notClosed(start int) bool {
	return f.fail(start, fmt.Sprintf("the quote %c is not closed", f.text[start]), "close it, or put the whole text in the other kind of quotes")
}

// escapes are the characters that may follow a \ in double quotes (YAML 1.2, 5.7), beside those of hexDigits.
const escapes = "0abt\tnvfre \"/\\N_LP\n'"

// hexDigits are the numbers of digits that follow an escape.
var hexDigits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// quoted reads a text in quotes.
func (f *finder) quoted() bool {
	start := f.at
	quote := f.text[start]
	several := false // lines
	for f.at++; f.at < len(f.text); f.at++ {
		switch c := f.text[f.at]; {
		case c == quote && quote == '\'' && strings.HasPrefix(f.text[f.at+1:], "'"):
			f.at++
		case c == quote:
			f.at++
			return true
		case c == '\n':
			several, f.line = true, f.at+1
			if f.marker(f.line) {
				return f.notClosed(start)
			}
		case c == '\\' && quote == '"' && f.at+1 < len(f.text):
			if !f.escape() {
				if several {
					return f.notClosed(start)
				}
				return f.fail(f.at, fmt.Sprintf("%s is not an escape in double quotes", shown(f.text[f.at:f.at+2])), `write \\ for a backslash, or put the text in single quotes`)
			}
			f.at++
			if f.text[f.at] == '\n' {
				several, f.line = true, f.at+1
			}
		}
	}
	return f.notClosed(start)
}

// escape reports whether an escape is a known one.
func (f *finder) escape() bool {
	c := f.text[f.at+1]
	if strings.IndexByte(escapes, c) >= 0 {
		return true
	}
	digits := hexDigits[c]
	if digits == 0 || f.at+2+digits > len(f.text) {
		return false
	}
	for _, d := range f.text[f.at+2 : f.at+2+digits] {
		if !strings.ContainsRune("0123456789abcdefABCDEF", d) {
			return false
		}
	}
	return true
}
