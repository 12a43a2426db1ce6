package signature

import (
	"fmt"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// ReadRules reads the value of the key verify_images of a settings or policy file. The files of
// keys are read, too; their names are relative to the folder of the file. Each thing that is wrong
// is told to fail, with its place.
func ReadRules(file string, n *yaml.Node, fail func(at *yaml.Node, message string)) Rules {
	r := &ruleReader{file, fail}
	var rules Rules
	for _, item := range r.items(n, "rules") {
		rules = append(rules, r.rule(item))
	}
	return rules
}

// keyless are the words by which other tools' rules name signatures with certificates.
var keyless = []string{
	"keyless", "identity", "identities", "issuer", "subject", "certificate_identity", "certificate_oidc_issuer", "certificates",
	"trusted_root", "trust_root", "fulcio", "rekor", "notation", "trust_store", "trust_stores", "trusted_identities",
}

type ruleReader struct {
	file string
	fail func(at *yaml.Node, message string)
}

func (r *ruleReader) rule(n *yaml.Node) Rule {
	rule := Rule{Place: fmt.Sprintf("%s:%d", r.file, n.Line)}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "want a map with images, and keys or unsigned")
		return rule
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case seen[key.Value]:
			r.fail(key, fmt.Sprintf("key %.100q is given twice", key.Value))
		case key.Value == "images":
			rule.Images = r.pattern(value)
		case key.Value == "keys":
			rule.Keys = r.keys(value)
		case key.Value == "unsigned":
			rule.Unsigned = r.flag(value)
		case slices.Contains(keyless, key.Value):
			r.fail(key, fmt.Sprintf("key %q: signatures with certificates (keyless, notation) are not supported: name public keys in keys, and sign with cosign sign --key", key.Value))
		default:
			r.fail(key, fmt.Sprintf("unknown key %.100q (want images, keys, unsigned)", key.Value))
		}
		seen[key.Value] = true
	}
	switch {
	case !seen["images"]:
		r.fail(n, "the rule needs images: a pattern such as registry.example.com/team/**")
	case rule.Unsigned == seen["keys"]:
		r.fail(n, "the rule needs either keys or unsigned: true")
	}
	return rule
}

func (r *ruleReader) items(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fail(n, "want a list of "+what)
		return nil
	}
	return n.Content
}

func (r *ruleReader) text(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		r.fail(n, "want a string")
		return ""
	}
	return n.Value
}

// pattern does not quote what it refuses: people paste USER:PASSWORD@HOST.
func (r *ruleReader) pattern(n *yaml.Node) string {
	pattern := r.text(n)
	if err := CheckPattern(pattern); err != nil && pattern != "" {
		r.fail(n, fmt.Sprintf("the pattern of images: %v", err))
	}
	return pattern
}

func (r *ruleReader) flag(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.fail(n, "want true or false")
	}
	return n.Value == "true"
}

func (r *ruleReader) keys(n *yaml.Node) (keys []Key) {
	for _, item := range r.items(n, "files of public keys") {
		file := r.text(item)
		if file == "" {
			continue
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(r.file), file)
		}
		key, err := ReadKey(file)
		if err != nil {
			r.fail(item, fmt.Sprintf("key: %v", err))
			continue
		}
		keys = append(keys, key)
	}
	return keys
}
