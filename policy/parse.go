package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/yamlfault"
	"github.com/stepexec/stepexec/signature"
)

// maxFileSize is far more than any policy needs.
const maxFileSize = 1 << 20

// Parse reads a policy file; file is its name for messages. It takes no key
// that it does not know: a misspelt rule would otherwise be a rule that is not there. The error is Errors.
func Parse(file string, data []byte) (*Policy, error) {
	r := &reader{policy: &Policy{name: file, at: map[string]position{}}}
	if root := r.document(data); root != nil {
		r.mapping(root, r.keys())
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return r.policy, nil
}

type reader struct {
	policy *Policy
	errs   Errors
}

func (r *reader) fail(n *yaml.Node, key, message, hint string) {
	r.errs = append(r.errs, &Error{File: r.policy.name, Line: n.Line, Column: n.Column, Key: key, Message: message, Hint: hint})
}

// keys says how the value of each key is read.
func (r *reader) keys() map[string]func(key string, n *yaml.Node) {
	rules := &r.policy.rules
	return map[string]func(string, *yaml.Node){
		"mounts":               r.mounts,
		"privileged_images":    list(r, &rules.privilegedImages, parseImage),
		"images":               r.images,
		"verify_images":        r.verifyImages,
		"pull":                 r.pull,
		"ports":                list(r, &rules.ports, parsePorts),
		"labels":               list(r, &rules.labels, labelPrefix),
		"limits":               r.limits,
		"networks":             list(r, &rules.networks, network),
		"egress":               r.egress,
		"devices":              list(r, &rules.devices, device),
		"capabilities":         list(r, &rules.capabilities, capabilityName),
		"host_environment":     list(r, &rules.hostEnvironment, variable),
		"cgroup_parents":       list(r, &rules.cgroupParents, absolute),
		"seccomp":              r.flag(&rules.seccomp),
		"apparmor":             r.flag(&rules.apparmor),
		"allow_new_privileges": r.flag(&rules.allowNewPrivileges),
		"unmask":               r.flag(&rules.unmask),
		"user_namespaces":      r.flag(&rules.userNamespaces),
		"stdin":                r.flag(&rules.stdin),
		"no_mknod":             r.flag(&rules.noMknod),
		"nosuid":               r.flag(&rules.nosuid),
		"spec":                 r.flag(&rules.spec),
		"namespaces":           r.flag(&rules.namespaces),
		"keep":                 r.flag(&rules.keep),
		"keyed_caches":         r.flag(&rules.keyedCaches),
		"cache_stores":         list(r, &rules.cacheStores, cacheStore),
		"repositories":         r.repositories,
	}
}

// document returns the root of the file's only document, or nil where there is
// nothing in it, which is a policy too: it allows nothing.
func (r *reader) document(data []byte) *yaml.Node {
	start := &yaml.Node{Line: 1, Column: 1}
	if len(data) > maxFileSize {
		r.fail(start, "", fmt.Sprintf("the file has more than %d bytes", maxFileSize), "")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			r.fail(&second, "", "the file has more than one document", "remove the --- between them")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		f := yamlfault.Explain(data, err)
		r.fail(&yaml.Node{Line: f.Line, Column: f.Column}, "", "not valid YAML: "+f.Message, f.Hint)
		return nil
	}
	return first.Content[0]
}

// mapping reads a map whose keys are all known and given once.
func (r *reader) mapping(n *yaml.Node, keys map[string]func(string, *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "", "must be a map of keys and values", "")
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, known := keys[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known:
			r.fail(key, "", fmt.Sprintf("unknown key %q", key.Value), "the keys are "+strings.Join(sorted(keys), ", "))
		case seen[key.Value]:
			r.fail(key, key.Value, "given twice", "")
		default:
			seen[key.Value] = true
			r.policy.at[key.Value] = position{key.Line, key.Column}
			read(key.Value, value)
		}
	}
}

func sorted[V any](keys map[string]V) []string {
	var names []string
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r *reader) flag(to *bool) func(string, *yaml.Node) {
	return func(key string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			r.fail(n, key, "must be true or false", "")
			return
		}
		*to = strings.EqualFold(n.Value, "true")
	}
}

// list reads a list of strings, each by parse, which returns it in the form in
// which it is compared.
func list[T any](r *reader, to *[]T, parse func(string) (T, error)) func(string, *yaml.Node) {
	return func(key string, n *yaml.Node) {
		*to = []T{}
		for _, item := range r.items(key, n) {
			if parsed, ok := text(r, key, item, parse); ok {
				*to = append(*to, parsed)
			}
		}
	}
}

// images reads what images may be used at all, and which of them not.
func (r *reader) images(key string, n *yaml.Node) {
	at := r.policy.at[key]
	r.mapping(n, map[string]func(string, *yaml.Node){
		"allow": list(r, &r.policy.rules.allowImages, parseImage),
		"deny":  list(r, &r.policy.rules.denyImages, parseImage),
	})
	r.policy.at[key] = at
}

// verifyImages reads which images must be signed. Files of keys are relative to the policy's.
func (r *reader) verifyImages(key string, n *yaml.Node) {
	r.policy.rules.verifyImages = signature.ReadRules(r.policy.name, n, func(at *yaml.Node, message string) { r.fail(at, key, message, "") })
}

func (r *reader) pull(key string, n *yaml.Node) {
	r.policy.rules.pull, _ = text(r, key, n, func(text string) (string, error) {
		if !slices.Contains([]string{"always", "missing", "never"}, text) {
			return "", errors.New("is not a pull policy: there are always, missing and never")
		}
		return text, nil
	})
}

// labelPrefix reads the prefix of annotations, such as io.katacontainers.
func labelPrefix(text string) (string, error) {
	prefix := strings.TrimSuffix(text, "*")
	if prefix == "" || strings.ContainsAny(prefix, "* \t\n") {
		return "", errors.New("is not the beginning of labels: write it like io.katacontainers.*")
	}
	return prefix, nil
}

func (r *reader) items(key string, n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, key, "must be a list", fmt.Sprintf("write %s: [...]", key))
		return nil
	}
	return n.Content
}

func text[T any](r *reader, key string, n *yaml.Node, parse func(string) (T, error)) (parsed T, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		r.fail(n, key, "must be a string", "")
		return parsed, false
	}
	parsed, err := parse(n.Value)
	if err != nil {
		r.fail(n, key, fmt.Sprintf("%q %v", n.Value, err), "")
	}
	return parsed, err == nil
}

// mounts reads a list of paths, which may be read, and of maps with the keys
// path and write.
func (r *reader) mounts(key string, n *yaml.Node) {
	for _, item := range r.items(key, n) {
		var m hostPath
		if item.Kind != yaml.MappingNode {
			m.path, _ = text(r, key, item, absolute)
		} else {
			at := r.policy.at[key]
			r.mapping(item, map[string]func(string, *yaml.Node){
				"path":  func(_ string, n *yaml.Node) { m.path, _ = text(r, key, n, absolute) },
				"write": r.flag(&m.write),
			})
			r.policy.at[key] = at
			if m.path == "" {
				r.fail(item, key, "has no path", "write - path: /srv/cache")
			}
		}
		r.policy.rules.mounts = append(r.policy.rules.mounts, m)
	}
}

func absolute(text string) (string, error) {
	if !path.IsAbs(text) || slices.Contains(strings.Split(text, "/"), "..") {
		return "", errors.New("is not an absolute path without .. in it")
	}
	return path.Clean(text), nil
}

func network(text string) (string, error) {
	if known := []string{"host", "none", "private"}; !slices.Contains(known, text) {
		return "", errors.New("is not a network: there are host, none and private")
	}
	return text, nil
}

// device takes the path of a device or of a directory of them, and the kind or
// the name of a CDI device: nvidia.com/gpu or nvidia.com/gpu=0.
func device(text string) (string, error) {
	if path.IsAbs(text) {
		return absolute(text)
	}
	if vendor, class, ok := strings.Cut(text, "/"); !ok || vendor == "" || class == "" || strings.Contains(class, "/") {
		return "", errors.New("is neither an absolute path nor a CDI device such as nvidia.com/gpu")
	}
	return text, nil
}

func capabilityName(text string) (string, error) {
	name := strings.TrimPrefix(strings.ToUpper(text), "CAP_")
	known := func(c capability.Cap) bool { return strings.EqualFold(c.String(), name) }
	if name != "ALL" && !slices.ContainsFunc(capability.ListKnown(), known) {
		return "", errors.New("is not a capability: see capabilities(7)")
	}
	return name, nil
}

func variable(text string) (string, error) {
	if text == "" || strings.ContainsAny(text, "= \t") {
		return "", errors.New("is not the name of a variable")
	}
	return text, nil
}
