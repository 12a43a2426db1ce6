package pipeline

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

// KeyedCache is a folder of a step that is restored by a key before the step, and saved under it
// when the step has succeeded.
type KeyedCache struct {
	Name     string
	Path     string // absolute, clean path in the container
	Key      []KeyPart
	Fallback int           // parts that may be dropped from the end of Key
	Store    string        // a repository of a registry, or s3://BUCKET/PREFIX; "" is this machine's
	Mode     CacheMode     // "" is CacheReadWrite
	MaxAge   time.Duration // since it was saved; 0: any
	MaxSize  int64         // bytes of all files; 0: the default
}

// KeyPart is something that the content of a cache depends on. One of its fields is set.
type KeyPart struct {
	Checksum []string // patterns of files in the workspace
	Env      string   // name of a variable of the step
	Text     string
	Platform string // "os" or "arch": that of the image
}

// CacheMode says what is done with a keyed cache.
type CacheMode string

// The modes. The empty one means CacheReadWrite.
const (
	CacheRead      CacheMode = "read"
	CacheWrite     CacheMode = "write"
	CacheReadWrite CacheMode = "read-write"
)

// maxKeyParts bounds the parts of a key.
const maxKeyParts = 20

// anyCache reads a cache, with or without a key.
func (p *parser) anyCache(s *Step, v value) (Mount, error) {
	if v.kind == mapKind {
		for _, key := range []string{"key", "fallback", "store", "mode", "max_age", "max_size"} {
			if _, given := v.get(key); given {
				return p.keyedCache(s, v)
			}
		}
	}
	return p.cache(v)
}

func (p *parser) keyedCache(s *Step, v value) (Mount, error) {
	var c KeyedCache
	p.object(v, fields{
		"name":     func(v value) { c.Name = p.volumeName(v) },
		"path":     func(v value) { c.Path = p.word(v) },
		"key":      func(v value) { c.Key = p.cacheKey(v) },
		"fallback": func(v value) { c.Fallback = int(p.whole(v, 0, maxKeyParts-1)) },
		"store":    func(v value) { c.Store = p.cacheStore(v) },
		"mode": func(v value) {
			c.Mode = CacheMode(p.oneOf(v, string(CacheRead), string(CacheWrite), string(CacheReadWrite)))
		},
		"max_age":  func(v value) { c.MaxAge = p.duration(v) },
		"max_size": func(v value) { c.MaxSize = p.artifactSize(v) },
	})
	for _, key := range []string{"name", "path", "key"} {
		if _, given := v.get(key); !given {
			p.missing(v, key)
		}
	}
	if fallback, given := v.get("fallback"); given && c.Fallback >= len(c.Key) && c.Fallback > 0 && len(c.Key) > 0 {
		p.wrong(fallback, fmt.Sprintf("a fallback of %d would drop the whole key of %d parts", c.Fallback, len(c.Key)), "leave at least one")
	}
	if c.Name == "" || c.Path == "" {
		return Mount{}, nil // reported
	}
	if err := checkFolderDestination(c.Path); err != nil {
		return Mount{}, err
	}
	c.Path = path.Clean(c.Path)
	s.Caches = append(s.Caches, c)
	return Mount{Type: MountKeyed, Source: c.Name, Destination: c.Path, Options: []string{"rbind", "rw", "nosuid", "nodev"}}, nil
}

// cachesBeside refuses keyed caches of a service or a detached step that would never be saved.
func (p *parser) cachesBeside(v value, s *Step) {
	given, _ := v.get("cache")
	for _, c := range s.Caches {
		if c.Mode != CacheRead {
			p.misplaced(given, fmt.Sprintf("the cache %s would never be saved", c.Name),
				"a service or a detached step is stopped, and does not succeed; write mode: read, or leave out the key")
		}
	}
}

// cacheKey reads one part or a list of them.
func (p *parser) cacheKey(v value) []KeyPart {
	entries := p.entries(v)
	if len(entries) > maxKeyParts {
		p.wrong(v, fmt.Sprintf("has %d parts, more than the %d allowed", len(entries), maxKeyParts), "")
		return nil
	}
	var key []KeyPart
	for _, entry := range entries {
		key = append(key, p.keyPart(entry))
	}
	return key
}

func (p *parser) keyPart(v value) KeyPart {
	if v.kind != mapKind {
		if v.kind != textKind {
			p.wrongType(v, "a map, or os or arch")
			return KeyPart{}
		}
		if v.text != "os" && v.text != "arch" {
			p.wrong(v, fmt.Sprintf("%q is no part of a key", v.text), "write os, arch, or a map such as {checksum: go.sum}, {env: GOVERSION} or {text: v2}")
		}
		return KeyPart{Platform: v.text}
	}
	var part KeyPart
	p.object(v, fields{
		"checksum": func(v value) { part.Checksum = p.artifactPaths(v) },
		"env":      func(v value) { part.Env = p.variableName(v) },
		"text":     func(v value) { part.Text = p.line(v) },
	})
	if len(v.pairs) != 1 {
		p.wrong(v, "must have one of checksum, env and text", "write an item of the list for each")
	}
	return part
}

// LocalStore is how a file names the store of this machine.
const LocalStore = "local"

var storeForms = sync.OnceValue(func() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._-]*)*$`),
		// A host has a dot or a port, or is localhost, as in references of images.
		regexp.MustCompile(`^(localhost(:[0-9]+)?|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?|[A-Za-z0-9-]+:[0-9]+|\[[0-9a-fA-F:]+\](:[0-9]+)?)(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`),
	}
})

// CacheStores says how to write the name of a store of caches.
const CacheStores = "write local, a repository of a registry such as registry.example.com/ci/cache, or s3://BUCKET/PREFIX"

// IsCacheStore reports whether a text names a store that machines share.
func IsCacheStore(text string) bool {
	return slices.ContainsFunc(storeForms(), func(form *regexp.Regexp) bool { return form.MatchString(text) })
}

// cacheStore reads where a cache is stored; "" is this machine.
func (p *parser) cacheStore(v value) string {
	text := p.line(v)
	if text == LocalStore {
		return ""
	}
	if text != "" && !IsCacheStore(text) {
		p.wrong(v, fmt.Sprintf("%q is not a store of caches", text), CacheStores)
		return ""
	}
	return text
}

// keyedCache returns the keyed cache of a mount, nil for another mount.
func (s *Step) keyedCache(m *Mount) *KeyedCache {
	i := slices.IndexFunc(s.Caches, func(c KeyedCache) bool { return c.Path == m.Destination })
	if m.Type != MountKeyed || i < 0 {
		return nil
	}
	return &s.Caches[i]
}

// checkCacheKeys reports secrets in keys: who can read the store could guess them.
func (pl *planner) checkCacheKeys(step *PlannedStep, s *Step) {
	for _, c := range step.Caches {
		for _, part := range c.Key {
			if _, secret := step.SecretEnv[part.Env]; secret && part.Env != "" {
				pl.fail(s.Position, fmt.Sprintf("the key of the cache %s has the variable %s, which is a secret", c.Name, part.Env), "take another variable", nil)
			}
		}
	}
}

func (c *KeyedCache) node() *yaml.Node {
	m := newMapping()
	m.text("name", c.Name)
	m.text("path", c.Path)
	m.Put("key", tree.List(c.Key, func(part *KeyPart) *yaml.Node {
		if part.Platform != "" {
			return tree.Text(part.Platform)
		}
		n := newMapping()
		n.texts("checksum", part.Checksum)
		n.text("env", part.Env)
		n.text("text", part.Text)
		return n.Node
	}))
	m.number("fallback", int64(c.Fallback))
	m.text("store", c.Store)
	m.text("mode", string(c.Mode))
	m.duration("max_age", c.MaxAge)
	m.number("max_size", c.MaxSize)
	return m.Node
}

// String describes the part, for messages.
func (p *KeyPart) String() string {
	switch {
	case p.Checksum != nil:
		return "checksum of " + strings.Join(p.Checksum, ", ")
	case p.Env != "":
		return "env " + p.Env
	case p.Text != "":
		return "text"
	}
	return p.Platform
}

// variableName reads the name of a variable.
func (p *parser) variableName(v value) string {
	text := p.line(v)
	if strings.Contains(text, "=") {
		p.wrong(v, fmt.Sprintf("%q is not the name of a variable", text), "")
		return ""
	}
	return text
}

// HasKeyedCaches reports whether any step has a keyed cache.
func (p *Pipeline) HasKeyedCaches() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return len(s.Caches) > 0 })
}
