package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/yamlfault"
)

// maxFile bounds the settings file, in bytes.
const maxFile = 1 << 20

// Error is one thing that is wrong with a settings file.
type Error struct {
	File         string
	Line, Column int // from 1
	Message      string
}

// Error is FILE:LINE:COLUMN: MESSAGE.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// A parser turns nodes into settings. Its methods report what is wrong with a node and return the zero value, so that
// one look at a file finds all errors.
type parser struct {
	file string
	errs []error
}

func (p *parser) fail(at *yaml.Node, format string, args ...any) {
	p.errs = append(p.errs, &Error{p.file, max(at.Line, 1), max(at.Column, 1), fmt.Sprintf(format, args...)})
}

func (p *parser) err() error { return errors.Join(p.errs...) }

// document returns the root of the file's only document, nil after an error or if the file is empty.
func (p *parser) document(data []byte) *yaml.Node {
	start := &yaml.Node{}
	if len(data) > maxFile {
		p.fail(start, "the file is larger than %d bytes", maxFile)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		switch err = decoder.Decode(&second); {
		case err == nil:
			p.fail(&second, "the file has more than one document")
			return nil
		case errors.Is(err, io.EOF):
			return first.Content[0]
		}
	}
	f := yamlfault.Explain(data, err)
	if f.Hint != "" {
		f.Message += " (" + f.Hint + ")"
	}
	p.fail(&yaml.Node{Line: f.Line, Column: f.Column}, "not valid YAML: %s", f.Message)
	return nil
}

// fields says for each key of a map how its value is read.
type fields map[string]func(value *yaml.Node)

// object reads a map with a fixed set of keys.
func (p *parser) object(n *yaml.Node, known fields) {
	p.pairs(n, func(key, value *yaml.Node) {
		if read := known[key.Value]; read != nil {
			read(value)
			return
		}
		names := slices.Sorted(maps.Keys(known))
		hint := "want " + strings.Join(names, ", ")
		if i := slices.IndexFunc(names, func(name string) bool { return slip(key.Value, name) }); i >= 0 {
			hint = fmt.Sprintf("did you mean %q?", names[i])
		}
		p.fail(key, "unknown key %s (%s)", quoted(key.Value), hint)
	})
}

// pairs calls each for every pair of a map. Aliases and merge keys are refused: a short file needs none.
func (p *parser) pairs(n *yaml.Node, each func(key, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode || n.ShortTag() != "!!map" {
		p.fail(n, "want a map, not %s", kindOf(n))
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			p.fail(key, "a key must be a string, not %s", kindOf(key))
			continue
		}
		if line, twice := seen[key.Value]; twice {
			p.fail(key, "key %s is given twice, first at line %d", quoted(key.Value), line)
			continue
		}
		seen[key.Value] = key.Line
		each(key, n.Content[i+1])
	}
}

// slip reports whether two words differ by one letter, which is too many, missing or wrong, or by two that are swapped.
func slip(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	swapped := len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
	return swapped || len(a) <= 1 && len(b) <= 1
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return quoted(n.Value)
}

// quoted quotes what the file has, without what comes before an @: people paste USER:PASSWORD@HOST, and errors end up
// in logs.
func quoted(text string) string {
	if at := strings.LastIndex(text, "@"); at >= 0 {
		text = "***" + text[at:]
	}
	return fmt.Sprintf("%.100q", text)
}

// text returns a string that is not empty, or "" after an error.
func (p *parser) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		p.fail(n, "want a string, not %s", kindOf(n))
		return ""
	}
	return n.Value
}

// path returns a file name, relative to the folder of the settings file.
func (p *parser) path(n *yaml.Node) string {
	name := p.text(n)
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(p.file), name)
}

func (p *parser) boolean(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" || n.ShortTag() != "!!bool" {
		p.fail(n, "want true or false, not %s", kindOf(n))
		return false
	}
	return n.Value == "true"
}

// count reads a number of things.
func (p *parser) count(n *yaml.Node) int64 {
	number, err := strconv.ParseInt(n.Value, 10, 32)
	// YAML takes 010 for 8, which nobody means.
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || number < 1 || n.Value[0] == '0' {
		p.fail(n, "want a whole number from 1 to 2147483647, not %s", kindOf(n))
		return 0
	}
	return number
}

// duration reads Go's form or, as in pipeline files, bare seconds.
func (p *parser) duration(n *yaml.Node) time.Duration {
	d, err := time.ParseDuration(n.Value)
	if seconds, bare := strconv.Atoi(n.Value); bare == nil && seconds <= int(24*time.Hour/time.Second) {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if n.Kind != yaml.ScalarNode || err != nil || d <= 0 || d > 24*time.Hour {
		p.fail(n, "want a duration of at most 24h such as 30s or 2m, not %s", kindOf(n))
		return 0
	}
	return d
}

// parsed reads a scalar by a function that has its own words for what is wrong.
func parsed[T any](p *parser, n *yaml.Node, parse func(string) (T, error)) T {
	var none T
	if n.Kind != yaml.ScalarNode || n.Value == "" || n.ShortTag() == "!!null" {
		p.fail(n, "want a value, not %s", kindOf(n))
		return none
	}
	value, err := parse(n.Value)
	if err != nil {
		p.fail(n, "%v", err)
		return none
	}
	return value
}
