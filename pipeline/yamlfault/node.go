package yamlfault

import (
	"fmt"
	"strings"
)

// longestKey is the number of bytes that a key and its colon may be apart (YAML 1.2, 7.4.2).
const longestKey = 1024

// properties reads the anchor and the tag of a value. empty: nothing else is in the line.
func (f *finder) properties() (empty, ok bool) {
	anchor := false
	for f.at < len(f.text) && (f.text[f.at] == '&' || f.text[f.at] == '!') {
		start := f.at
		if f.text[start] == '!' {
			for !f.blankAt(f.at) {
				f.at++
			}
			if tag := f.text[start:f.at]; strings.HasPrefix(tag, "!<") && !strings.HasSuffix(tag, ">") || strings.Count(tag, "!") > 1 && !strings.HasPrefix(tag, "!!") {
				return false, f.fail(start, "a ! begins a tag in YAML, and "+shown(tag)+" is not one", f.quotes(start))
			}
		} else {
			name := f.name()
			if name == "" || !f.blankAt(f.at) {
				return false, f.fail(start, "an & begins the name of an anchor in YAML, of letters, digits, - and _", f.quotes(start))
			}
			if anchor {
				return false, f.fail(start, "a value can have one anchor only", "remove this one")
			}
			anchor, f.anchors[name] = true, true
		}
		if f.restIsEmpty() {
			return true, true
		}
		f.blanks()
	}
	return false, true
}

// name reads the name of an anchor or alias, after its first character.
func (f *finder) name() string {
	f.at++
	start := f.at
	for f.at < len(f.text) {
		c := f.text[f.at]
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-') {
			break
		}
		f.at++
	}
	return f.text[start:f.at]
}

// alias reads an alias. inFlow: it is in brackets, where a comma may follow it.
func (f *finder) alias(inFlow bool) bool {
	start := f.at
	name := f.name()
	if name == "" || !f.blankAt(f.at) && !(inFlow && strings.IndexByte(",]}", f.text[f.at]) >= 0) && f.text[f.at] != ':' {
		return f.fail(start, "a * begins an alias in YAML, and no name follows it", f.quotes(start))
	}
	if !f.anchors[name] {
		return f.fail(start, "no anchor &"+name+" stands before the alias *"+name, "put &"+name+" before the value that is meant, or quotes around the text")
	}
	return true
}

// node reads a key or a value whose further lines are indented deeper than parent. mayBeKey: the line may be one of
// a map. Afterwards at is after the colon of a key, or at the line after a value.
func (f *finder) node(parent int, mayBeKey bool) (key, ok bool) {
	start := f.at
	switch c := f.text[f.at]; {
	case c == '-' && f.blankAt(f.at+1):
		return false, f.fail(start, "a list cannot begin here", "begin its items on lines of their own below the key, or put the text in quotes")
	case c == '?' && f.blankAt(f.at+1):
		return false, false
	case c == '|', c == '>':
		return false, f.literal(parent)
	case c == '"', c == '\'':
		ok = f.quoted()
	case c == '[', c == '{':
		ok = f.flow(parent)
	case c == '*':
		ok = f.alias(false)
	case strings.IndexByte("@`%,]}", c) >= 0:
		return false, f.reserved()
	case c == ':' && f.blankAt(f.at+1):
		return false, f.fail(start, "nothing stands before the colon", "write KEY: VALUE, or put the text in quotes")
	default:
		return f.plain(parent, mayBeKey)
	}
	if !ok {
		return false, false
	}
	if end := f.at; !f.restIsEmpty() {
		f.blanks()
		if f.text[f.at] == ':' && f.blankAt(f.at+1) {
			return f.colon(start, mayBeKey)
		}
		return false, f.trailing(start, end)
	}
	return false, f.next()
}

// colon reads the colon of a key.
func (f *finder) colon(start int, mayBeKey bool) (key, ok bool) {
	text := f.text[start:f.at]
	switch {
	case strings.Contains(text, "\n") && (text[0] == '"' || text[0] == '\''):
		return false, f.notClosed(start)
	case strings.Contains(text, "\n"):
		return false, f.fail(start, "a key of several lines is not possible", "write it in one line, or close the bracket")
	case !mayBeKey:
		return false, f.fail(f.at, "this is a second colon with a space, or the end of the line, after it", "put the text in quotes, or begin a map on the next line")
	case len(text) > longestKey:
		return false, f.fail(start, fmt.Sprintf("the key has more than %d characters", longestKey), "")
	}
	f.at++
	return true, true
}

// trailing is the fault of a text after a value that ends where its quote or bracket closes.
func (f *finder) trailing(start, end int) bool {
	value := f.text[start:end]
	rest := f.text[f.at:f.lineEnd()]
	switch open := value[0]; {
	case open == '*':
		return f.fail(start, "a * begins an alias in YAML, and text follows it", f.quotes(start))
	case (open == '"' || open == '\'') && strings.Contains(value, "\n"):
		return f.notClosed(start)
	case (open == '[' || open == '{') && (rest[0] == ']' || rest[0] == '}'):
		return f.closer()
	case open == '[':
		return f.fail(start, "a [ begins a list in YAML, and text follows its ]", f.quotes(start))
	case open == '{':
		return f.fail(start, "a { begins a map in YAML, and text follows its }", f.quotes(start))
	case rest[0] == ':':
		return f.fail(f.at+1, "a space is missing after the colon", "write KEY: VALUE")
	case open == '\'':
		return f.fail(f.at, "text follows the closing quote '", "write two of them for one in the text, or put the whole text in double quotes")
	default:
		return f.fail(f.at, `text follows the closing quote "`, `write \" for one in the text, or put the whole text in single quotes`)
	}
}

// plain reads a key or value without quotes.
func (f *finder) plain(parent int, mayBeKey bool) (key, ok bool) {
	start := f.at
	if f.toColon() {
		return f.colon(start, mayBeKey)
	}
	for {
		if !f.next() {
			return false, false
		}
		if f.indent <= parent || f.noted {
			return false, true
		}
		switch line := f.at; {
		case !f.toColon():
		case mayBeKey:
			f.at = line
			return false, f.noColon(start)
		default:
			return false, f.fail(line, "this line is indented deeper than the key above, which has a value already", "begin the keys of one map in the same column, and put a text with a colon in quotes")
		}
	}
}

// toColon goes to the colon of a key, and otherwise, which it reports, to the end of the text in the line.
func (f *finder) toColon() bool {
	for ; f.at < len(f.text) && f.text[f.at] != '\n'; f.at++ {
		switch f.text[f.at] {
		case ':':
			if f.blankAt(f.at + 1) {
				return true
			}
		case '#':
			if isBlank(f.text[f.at-1]) {
				f.at-- // the blank before it makes it a comment
				return false
			}
		}
	}
	return false
}

// reserved is the fault of a text without quotes whose first character needs them.
func (f *finder) reserved() bool {
	if c := f.text[f.at]; c == ']' || c == '}' {
		return f.closer()
	}
	return f.fail(f.at, fmt.Sprintf("a text without quotes cannot begin with %c in YAML", f.text[f.at]), f.quotes(f.at))
}

// quotes is the hint to put the rest of a line in quotes.
func (f *finder) quotes(start int) string {
	text, _, _ := strings.Cut(f.text[start:], "\n")
	text = strings.TrimSpace(text)
	if len(text) > 80 {
		return "put the text in quotes"
	}
	return "put the text in quotes: '" + strings.ReplaceAll(text, "'", "''") + "'"
}

// shown is a text in quotes, cut if it is long.
func shown(text string) string {
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:40], "") + "…"
	}
	return "'" + text + "'"
}

// literal reads a text that | or > begins.
func (f *finder) literal(parent int) bool {
	start := f.at
	content := -1 // indentation of the text
	for f.at++; f.at < len(f.text) && strings.IndexByte("+-123456789", f.text[f.at]) >= 0; f.at++ {
		if n := int(f.text[f.at] - '0'); n >= 1 && n <= 9 {
			content = max(parent, 0) + n
		}
	}
	if !f.restIsEmpty() {
		return f.fail(start, fmt.Sprintf("a %c begins a text on the lines below, and something follows it", f.text[start]), f.quotes(start))
	}
	for {
		f.at = min(f.lineEnd()+1, len(f.text))
		f.line = f.at
		if f.at == len(f.text) || f.marker(f.at) {
			f.indent = -1
			return true
		}
		for f.at < len(f.text) && f.text[f.at] == ' ' {
			f.at++
		}
		indent := f.at - f.line
		switch {
		case f.blankAt(f.at) && f.text[min(f.at, len(f.text)-1)] != '\t': // an empty line
		case f.at < len(f.text) && f.text[f.at] == '\t' && (content < 0 || indent < content):
			if !f.restIsEmpty() {
				return f.fail(f.at, "a tab indents this line", "YAML indents with spaces, never with tabs")
			}
		case indent <= parent:
			f.at = f.line
			return f.here()
		case content < 0:
			content = indent
		case indent < content && f.text[f.at] != '#':
			return f.fail(f.at, fmt.Sprintf("this line begins in column %d, but the text above it begins in column %d", indent+1, content+1),
				"indent all lines of a text at least as deep as its first one")
		case indent < content:
			f.at = f.line
			return f.here()
		}
	}
}
