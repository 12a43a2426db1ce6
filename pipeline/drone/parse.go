package drone

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// Load reads a .drone.yml, see Parse.
func Load(path string, o Options) (*pipeline.Set, error) {
	data, err := pipeline.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	return Parse(path, data, o)
}

// Parse reads the text of a .drone.yml; file is its name for messages. What is wrong is a
// pipeline.Errors. What Drone ignores without a word is in the warnings of the set.
func Parse(file string, data []byte, o Options) (*pipeline.Set, error) {
	p := &parser{file: file, text: string(data), o: &o, set: &pipeline.Set{Secrets: map[string]string{}}}
	stage := Stage{}
	if o.Stage != nil {
		stage = *o.Stage
	}
	documents, err := p.read(stage)
	if err != nil {
		return nil, err
	}
	p.secrets(documents)
	p.pipelines(documents)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return p.set, p.set.Whole()
}

// parser reads a file for one build.
type parser struct {
	*pipeline.Source
	file, text string
	o          *Options
	set        *pipeline.Set
}

// document is one of a file, with what it is.
type document struct {
	pipeline.Node
	kind, name string
	legacy     bool // of Drone 0.x
}

// read substitutes and returns the documents.
func (p *parser) read(stage Stage) ([]document, error) {
	known := values(p.o, &stage)
	substitute := func(text string) (string, error) {
		if p.o.Raw {
			return envsubst.Protect(text), nil
		}
		if p.Source == nil {
			p.warnOfUnset(text, known)
		}
		return envsubst.Substitute(p.file, text, known)
	}
	if old, err := p.legacyDocuments(substitute); old != nil || err != nil {
		return old, err
	}
	text, err := substitute(p.text)
	if err != nil {
		return nil, err
	}
	var nodes []pipeline.Node
	if p.Source == nil {
		p.Source, nodes = pipeline.ReadSource(p.file, []byte(text))
	} else {
		nodes = p.Source.Read([]byte(text))
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	var documents []document
	for _, node := range nodes {
		d := document{Node: node}
		if node.Kind() != "map" {
			p.WrongType(node, "a map")
			continue
		}
		kind, given := node.Get("kind")
		if !given {
			p.Missing(node, "kind")
			continue
		}
		d.kind = p.Text(kind)
		if name, given := node.Get("name"); given && name.Kind() != "null" {
			d.name = p.Text(name)
		}
		documents = append(documents, d)
	}
	return documents, nil
}

// warnOfUnset tells of ${NAME} that is replaced by nothing, and was meant for the shell,
// perhaps. The server's own variables are missing where the build has no such thing.
func (p *parser) warnOfUnset(text string, known map[string]string) {
	unset := envsubst.Unset(text, known)
	for _, name := range slices.SortedFunc(maps.Keys(unset), func(a, b string) int { return cmp.Or(unset[a]-unset[b], strings.Compare(a, b)) }) {
		if strings.HasPrefix(name, "DRONE_") || strings.HasPrefix(name, "CI_") {
			continue
		}
		p.set.Warnings = append(p.set.Warnings, &pipeline.Error{File: p.file, Line: unset[name],
			Message: fmt.Sprintf("${%s} is replaced by nothing: the build has no such variable", name), Hint: fmt.Sprintf("write $${%s} or $%s for the shell, or give it by --env", name, name)})
	}
}

// pipelines translates the documents that are pipelines, and connects them.
func (p *parser) pipelines(documents []document) {
	var names []string
	for i, d := range documents {
		switch d.kind {
		case "pipeline":
		case "secret", "signature", "registry", "cron":
			continue
		case "template":
			p.Wrong(d.at("kind"), "the server makes the pipelines from a template, which is not in this file", "ask the server for what it makes of it")
			continue
		default:
			p.warn(d.at("kind"), fmt.Sprintf("Drone ignores documents of kind %q", d.kind), "")
			continue
		}
		if d.name == "" {
			d.name = "default"
		}
		if slices.Contains(names, d.name) {
			p.Wrong(d.at("name"), fmt.Sprintf("there is a pipeline %q already", d.name), "give each a name of its own")
			continue
		}
		names = append(names, d.name)
		if p.o.Stage != nil && !sameName(p.o.Stage.Name, d.name) {
			continue
		}
		if err := p.Err(); err != nil {
			return // of the file as a whole
		}
		p.pipeline(p.ofStage(i, d))
		if p.o.Stage == nil {
			w := &p.set.Workflows[len(p.set.Workflows)-1]
			w.Wrong = append(w.Wrong, p.Take()...)
		}
	}
	switch {
	case len(names) == 0 && p.Err() == nil:
		p.Fail("the file has no pipeline", "write kind: pipeline")
	case p.o.Stage != nil && len(p.set.Workflows) == 0 && p.Err() == nil:
		p.Fail(fmt.Sprintf("the file has no pipeline %q (it has %s)", p.o.Stage.Name, strings.Join(names, ", ")), "")
	case p.o.Stage == nil:
		p.connect()
	}
}

// sameName reports whether two names are those of one pipeline.
func sameName(a, b string) bool {
	return a == b || a == "" && b == "default" || a == "default" && b == ""
}

// at is the value of a key, or the document where it has none.
func (d document) at(key string) pipeline.Node {
	if n, given := d.Get(key); given {
		return n
	}
	return d.Node
}

// ofStage is a document as the text of its own stage has it: variables can be about that.
func (p *parser) ofStage(index int, d document) document {
	if p.o.Raw || p.o.Stage != nil || !strings.Contains(p.text, "{DRONE_STAGE") {
		return d
	}
	documents, err := p.read(Stage{Name: d.name})
	if err != nil || index >= len(documents) {
		return d
	}
	name := d.name
	d = documents[index]
	d.name = name
	return d
}

func (p *parser) warn(n pipeline.Node, message, hint string) {
	at := n.Position()
	p.set.Warnings = append(p.set.Warnings, &pipeline.Error{File: p.file, Line: at.Line, Column: at.Column, Key: at.Key, Message: message, Hint: hint})
}
