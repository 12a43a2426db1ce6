package settings

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/signature"
	"github.com/stepexec/stepexec/unpack"
)

// Settings are what a settings file says. The zero value is that of an empty file.
type Settings struct {
	Registries  *pull.Registries // nil: nothing is said of any
	StoreLimit  int64            // bytes that the store's layers may take up on disk; 0: no limit
	LayerFormat unpack.Format    // "": nothing is said
	Limits      unpack.Limits    // of one layer; 0 in a field: its default
	History     History          // which records of runs are kept
	CacheLimit  int64            // bytes of all keyed caches, packed; 0: DefaultCacheLimit
	CacheKey    string           // file with the key that seals entries of shared stores of keyed caches; "": they are not sealed
	OutputLimit int64            // bytes of a step's output that are shown and recorded; 0: nothing is said

	RuntimeCalls bool // the runtime itself starts and deletes every container
	// PullCredentials says who may use a stored image that was pulled with credentials; "": nothing is said.
	PullCredentials PullCredentials
}

// PullCredentials says who may use a stored image that was pulled with credentials.
type PullCredentials string

// Who may use such an image.
const (
	VerifyCredentials PullCredentials = "verify" // those to whose credentials its registry gives it
	SharedCredentials PullCredentials = "shared" // everyone who uses the store
)

func parsePullCredentials(text string) (PullCredentials, error) {
	switch c := PullCredentials(text); c {
	case VerifyCredentials, SharedCredentials:
		return c, nil
	}
	return "", fmt.Errorf("%q must be %s or %s", text, VerifyCredentials, SharedCredentials)
}

// Parse reads settings. File names in them are relative to the folder of file, which is not read itself; the keys of
// verify_images are. Everything that is
// not known is an error. The error is, or joins, an *Error for each thing that is wrong, in the order of the file.
func Parse(file string, data []byte) (Settings, error) {
	p := &parser{file: file}
	var s Settings
	if root := p.document(data); root != nil {
		var verify signature.Rules
		p.object(root, fields{
			"verify_images":    func(n *yaml.Node) { verify = p.verifyImages(n) },
			"registries":       func(n *yaml.Node) { s.Registries = p.registries(n) },
			"store_limit":      func(n *yaml.Node) { s.StoreLimit = parsed(p, n, ParseStoreLimit) },
			"layer_format":     func(n *yaml.Node) { s.LayerFormat = parsed(p, n, unpack.ParseFormat) },
			"limits":           func(n *yaml.Node) { s.Limits = p.limits(n) },
			"history":          func(n *yaml.Node) { s.History = p.history(n) },
			"runtime_calls":    func(n *yaml.Node) { s.RuntimeCalls = p.boolean(n) },
			"cache_key":        func(n *yaml.Node) { s.CacheKey = p.path(n) },
			"cache_limit":      func(n *yaml.Node) { s.CacheLimit = parsed(p, n, ParseSize) },
			"output_limit":     func(n *yaml.Node) { s.OutputLimit = parsed(p, n, ParseSize) },
			"pull_credentials": func(n *yaml.Node) { s.PullCredentials = parsed(p, n, parsePullCredentials) },
		})
		if verify != nil {
			if s.Registries == nil {
				s.Registries = &pull.Registries{Hosts: map[string]pull.Host{}}
			}
			s.Registries.Verify = verify
		}
	}
	if err := p.err(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

func (p *parser) limits(n *yaml.Node) (l unpack.Limits) {
	p.object(n, fields{
		"layer_bytes":   func(n *yaml.Node) { l.Bytes = parsed(p, n, ParseSize) },
		"layer_entries": func(n *yaml.Node) { l.Entries = p.count(n) },
		"layer_ratio":   func(n *yaml.Node) { l.Ratio = p.count(n) },
	})
	return l
}
