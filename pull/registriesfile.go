package pull

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxRegistriesFile bounds the settings file, in bytes.
const maxRegistriesFile = 1 << 20

// ParseRegistries reads the settings of registries from YAML:
//
//	registries:
//	  docker.io:
//	    mirrors: [mirror.example:5000]
//	  mirror.example:5000:
//	    ca: certificates/ca.pem
//	    stall_timeout: 2m
//
// The keys of a host are mirrors, ca, cert, key, http, skip_verify, connect_timeout
// and stall_timeout, as in [Host]. Relative file names are relative to the folder of
// file, which is not read. Everything that is not known is an error. Errors begin
// with FILE:LINE:COLUMN, one a line.
func ParseRegistries(file string, data []byte) (*Registries, error) {
	p := &registriesParser{file: file, found: &Registries{Hosts: make(map[string]Host)}}
	if root := p.document(data); root != nil {
		p.mapping(root, func(key, value *yaml.Node) {
			if key.Value != "registries" {
				p.fail(key, "unknown key %q (want registries)", key.Value)
				return
			}
			p.mapping(value, p.host)
		})
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return p.found, nil
}

type registriesParser struct {
	file  string
	found *Registries
	errs  []error
}

func (p *registriesParser) fail(at *yaml.Node, format string, args ...any) {
	where := fmt.Sprintf("%s:%d:%d: ", p.file, max(at.Line, 1), max(at.Column, 1))
	p.errs = append(p.errs, errors.New(where+fmt.Sprintf(format, args...)))
}

// document returns the root of the file's only document, nil after an error or if
// the file is empty.
func (p *registriesParser) document(data []byte) *yaml.Node {
	start := &yaml.Node{}
	if len(data) > maxRegistriesFile {
		p.fail(start, "the file is larger than %d bytes", maxRegistriesFile)
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
	// The library has the line in its text only.
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if n, _ := fmt.Sscanf(text, "line %d:", &start.Line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
	}
	p.fail(start, "not valid YAML: %s", text)
	return nil
}

// mapping calls each for every pair. Aliases and merge keys are refused: a few hosts
// need none.
func (p *registriesParser) mapping(n *yaml.Node, each func(key, value *yaml.Node)) {
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
			p.fail(key, "key %q is there already, at line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		each(key, n.Content[i+1])
	}
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
	return fmt.Sprintf("%q", withoutPassword(n.Value))
}

func (p *registriesParser) host(key, value *yaml.Node) {
	name := hostKey(key.Value)
	if err := checkHost(key.Value); err != nil {
		p.fail(key, "registry %q: %v", withoutPassword(key.Value), err)
		return
	}
	if _, twice := p.found.Hosts[name]; twice {
		p.fail(key, "registry %q is there already", name)
		return
	}
	var h Host
	p.mapping(value, func(key, value *yaml.Node) { p.setting(&h, key, value) })
	switch {
	case (h.Cert == "") != (h.Key == ""):
		p.fail(key, "registry %q: cert and key belong together", name)
	case h.HTTP && (h.CA != "" || h.Cert != "" || h.SkipVerify):
		p.fail(key, "registry %q: http: true is without TLS, so ca, cert, key and skip_verify say nothing", name)
	}
	p.found.Hosts[name] = h
}

func (p *registriesParser) setting(h *Host, key, value *yaml.Node) {
	switch key.Value {
	case "mirrors":
		h.Mirrors = p.mirrors(value)
	case "ca":
		h.CA = p.path(value)
	case "cert":
		h.Cert = p.path(value)
	case "key":
		h.Key = p.path(value)
	case "http":
		h.HTTP = p.boolean(value)
	case "skip_verify":
		h.SkipVerify = p.boolean(value)
	case "connect_timeout":
		h.ConnectTimeout = p.duration(value)
	case "stall_timeout":
		h.StallTimeout = p.duration(value)
	default:
		p.fail(key, "unknown key %q (want mirrors, ca, cert, key, http, skip_verify, connect_timeout or stall_timeout)", key.Value)
	}
}

func (p *registriesParser) mirrors(n *yaml.Node) []string {
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		p.fail(n, "want a list of mirrors, not %s", kindOf(n))
		return nil
	}
	var mirrors []string
	for _, item := range n.Content {
		mirror := p.text(item)
		if err := checkMirror(mirror); err != nil && mirror != "" {
			p.fail(item, "mirror %q: %v", withoutPassword(mirror), err)
		}
		mirrors = append(mirrors, mirror)
	}
	return mirrors
}

// text returns a string that is not empty, or "" after an error.
func (p *registriesParser) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		p.fail(n, "want a string, not %s", kindOf(n))
		return ""
	}
	return n.Value
}

func (p *registriesParser) path(n *yaml.Node) string {
	name := p.text(n)
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(p.file), name)
}

func (p *registriesParser) boolean(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" || n.ShortTag() != "!!bool" {
		p.fail(n, "want true or false, not %s", kindOf(n))
		return false
	}
	return n.Value == "true"
}

// duration reads Go's form or, as in pipeline files, bare seconds.
func (p *registriesParser) duration(n *yaml.Node) time.Duration {
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
