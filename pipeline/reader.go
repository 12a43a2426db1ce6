package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reader turns nodes into the model. Its methods report what is wrong with a
// value and return the zero value in its place, so that reading goes on.
type reader struct {
	file string
	errs Errors
}

// value is a node together with the way to it.
type value struct {
	*node
	parent *value
	step   string // last part of the path: .image or [0]

	keyLine, keyColumn int // of the key it stands behind; the node's own in a list
}

// fields says for every key of a map how its value is read.
type fields map[string]func(value)

var plainKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_-]+$`) })

func (v value) field(p pair) value {
	name := p.name
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	if !plainKey().MatchString(name) {
		name = strconv.Quote(name)
	}
	if v.parent != nil {
		name = "." + name
	}
	return value{p.value, &v, name, p.line, p.column}
}

func (v value) item(i int) value {
	n := v.items[i]
	if n.at > 0 {
		i = n.at - 1
	}
	return value{n, &v, fmt.Sprintf("[%d]", i), n.line, n.column}
}

// get returns the value of a key.
func (v value) get(name string) (value, bool) {
	for _, p := range v.pairs {
		if p.name == name {
			return v.field(p), true
		}
	}
	return value{}, false
}

func (v value) path() string {
	if v.parent == nil {
		return v.step
	}
	return v.parent.path() + v.step
}

// position is that of the key, where a reader looks first.
func (v value) position() Position {
	at := Position{Line: v.keyLine, Column: v.keyColumn, Key: v.path()}
	if v.node != nil { // a key that is not given has none
		at.File = v.file
	}
	return at
}

// place says where a value stands, for somebody who reads about another one.
func (v value) place(other value) string {
	if v.file == other.file {
		return fmt.Sprintf("line %d", v.keyLine)
	}
	return fmt.Sprintf("line %d of %s", v.keyLine, cmp.Or(v.file, "the pipeline's own file"))
}

// wrong reports a value, at the value.
func (r *reader) wrong(v value, message, hint string) {
	r.wrongAt(Position{Line: v.line, Column: v.column, Key: v.path(), File: v.file}, message, hint)
}

// wrongAt reports something at a position.
func (r *reader) wrongAt(at Position, message, hint string) {
	r.errs.add(&Error{File: cmp.Or(at.File, r.file), Line: at.Line, Column: at.Column, Key: at.Key, Message: message, Hint: hint})
}

// report reports an error that a parser of some text returned, at the text.
func (r *reader) report(v value, err error) {
	var e *Error
	if errors.As(err, &e) {
		r.wrong(v, e.Message, e.Hint)
	} else {
		r.wrong(v, err.Error(), "")
	}
}

// misplaced reports a key, at the key.
func (r *reader) misplaced(v value, message, hint string) {
	r.wrongAt(v.position(), message, hint)
}

// missing reports a key that a map lacks, at the map.
func (r *reader) missing(v value, name string) {
	r.wrong(v.field(pair{name, v.line, v.column, v.node}), "is required", "")
}

func (r *reader) wrongType(v value, want string) {
	hint := ""
	switch {
	case v.kind == nullKind:
		hint = "give it a value or remove the key"
	case want == "a string" && v.scalar():
		hint = "put it in quotes"
	case want == "a list" && v.scalar():
		hint = "write it as a list"
		if v.isPlain() {
			hint += ": [" + v.text + "]"
		}
	case want == "true or false" && v.kind == textKind:
		hint = "write true or false, without quotes"
	case want == "a map" && v.kind == textKind && missingSpace().MatchString(v.text):
		hint = "put a space behind the colon"
	case want == "a map" && v.kind == listKind && v.parent == nil:
		hint = "a pipeline file begins with the key steps, and the list stands below that"
	}
	r.wrong(v, fmt.Sprintf("must be %s, not %s", want, article(v.kind)), hint)
}

// missingSpace matches a key with its value behind the colon, which YAML takes for a text.
var missingSpace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z_]+:\S`) })

// isPlain reports whether a scalar is short, and the same text in a list in flow style.
func (v value) isPlain() bool {
	return v.text != "" && len(v.text) <= 40 && !strings.ContainsAny(v.text, "\n\"'[]{},#: ")
}

func article(k kind) string {
	if k == nullKind {
		return string(k)
	}
	return "a " + string(k)
}

// object reads a map with a fixed set of keys.
func (r *reader) object(v value, fields fields) {
	if v.kind != mapKind {
		r.wrongType(v, "a map")
		return
	}
	for _, p := range v.pairs {
		if read, known := fields[p.name]; known {
			read(v.field(p))
		} else {
			r.unknownKey(v.field(p), p.name, fields)
		}
	}
}

// mostNamedKeys is how many keys a map may have that are all named where one is unknown.
const mostNamedKeys = 8

func (r *reader) unknownKey(v value, name string, fields fields) {
	if !r.errs.full() {
		known := slices.Sorted(maps.Keys(fields))
		hint := hintOf(name, known)
		switch {
		case hint != "":
		case v.parent.parent == nil:
			hint = "keys of your own, such as for anchors, begin with x-"
		case len(known) <= mostNamedKeys:
			hint = "use " + quotedList(known)
		}
		r.misplaced(v, "unknown key", hint)
	}
}

// word reads a string that is not empty.
func (r *reader) word(v value) string {
	if v.kind != textKind {
		r.wrongType(v, "a string")
		return ""
	}
	return r.notEmpty(v)
}

// scalar reads a string, number or boolean as the text that is in the file.
func (r *reader) scalar(v value) string {
	if !v.scalar() {
		r.wrongType(v, "a string")
		return ""
	}
	if strings.ContainsRune(v.text, 0) {
		r.wrong(v, "must not contain a NUL byte", "")
		return ""
	}
	return v.text
}

func (r *reader) notEmpty(v value) string {
	text := r.scalar(v)
	if v.scalar() && v.text == "" {
		r.wrong(v, "must not be empty", "give it a value or remove the key")
	}
	return text
}

// list reads a string, or a list of strings, with read for each.
func (r *reader) list(v value, read func(value) string) []string {
	if v.kind != listKind {
		if !v.scalar() {
			r.wrongType(v, "a string or a list of strings")
			return nil
		}
		return []string{read(v)}
	}
	texts := make([]string, len(v.items))
	for i := range v.items {
		texts[i] = read(v.item(i))
	}
	return texts
}

// entries are the items of a list that must have some, or the value alone.
func (r *reader) entries(v value) []value {
	if v.kind != listKind {
		return []value{v}
	}
	if len(v.items) == 0 {
		r.wrong(v, "must not be empty", "give it a value or remove the key")
	}
	var entries []value
	for i := range v.items {
		entries = append(entries, v.item(i))
	}
	return entries
}

// filled is list for keys that make no sense with an empty list.
func (r *reader) filled(v value, read func(value) string) []string {
	if v.kind == listKind && len(v.items) == 0 {
		r.wrong(v, "must not be empty", "give it a value or remove the key")
	}
	return r.list(v, read)
}

func (r *reader) boolean(v value) bool {
	if v.kind != booleanKind {
		r.wrongType(v, "true or false")
		return false
	}
	return strings.EqualFold(v.text, "true")
}

// oneOf reads one of a few words.
func (r *reader) oneOf(v value, words ...string) string {
	if v.kind != textKind {
		r.wrongType(v, quotedList(words))
		return ""
	}
	if !slices.Contains(words, v.text) {
		r.wrong(v, fmt.Sprintf("must be %s, not %q", quotedList(words), v.text), hintOfWord(v.text, words))
		return ""
	}
	return v.text
}

// matching reads a string of a given form.
func (r *reader) matching(v value, form *regexp.Regexp, rule string) string {
	text := r.word(v)
	if text != "" && !form.MatchString(text) {
		r.wrong(v, fmt.Sprintf("%q is not valid", text), rule)
		return ""
	}
	return text
}

const durationHint = "write it like 90s, 10m or 1h30m; a bare number is seconds"

// duration reads a Go duration, or seconds.
func (r *reader) duration(v value) time.Duration {
	var d time.Duration
	var err error
	switch v.kind {
	case numberKind:
		var seconds int64
		if seconds, err = strconv.ParseInt(v.text, 10, 64); v.text[0] == '0' && len(v.text) > 1 {
			err = strconv.ErrSyntax // YAML would take it for octal
		}
		if d = time.Duration(seconds) * time.Second; d/time.Second != time.Duration(seconds) {
			d = -1
		}
	case textKind:
		d, err = time.ParseDuration(v.text)
	default:
		r.wrongType(v, "a duration")
		return 0
	}
	if err != nil {
		r.wrong(v, fmt.Sprintf("%q is not a duration", v.text), durationHint)
		return 0
	}
	if d <= 0 {
		r.wrong(v, fmt.Sprintf("a duration of %s is out of range", v.text), "it must be more than 0 and less than 292 years")
		return 0
	}
	return d
}
