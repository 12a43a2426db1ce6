package woodpecker

import (
	"fmt"
	"slices"

	"github.com/stepexec/stepexec/pipeline"
)

// Trust is what a server lets the workflows of a repository use.
type Trust struct{ Network, Volumes, Security bool }

// everything is the trust in one's own files.
func everything() Trust { return Trust{Network: true, Volumes: true, Security: true} }

// OptionTrust says what a repository must be trusted with to use a key of a native step in
// backend_options.stepexec, by the key's trust class. The server does not look at those keys:
// whoever translates a workflow does. The zero Trust is for keys that every repository may
// use; ok is false for keys that stand there for nobody.
func OptionTrust(name string) (needed Trust, ok bool) {
	if !slices.Contains(optionKeys, name) {
		return Trust{}, false
	}
	keys := pipeline.Keys()
	i := slices.IndexFunc(keys, func(k pipeline.Key) bool { return k.Name == name })
	if i < 0 {
		return Trust{}, false
	}
	if name == "allow_new_privileges" { // every step has it unless it says otherwise, as with docker
		return Trust{}, true
	}
	switch keys[i].Class {
	case pipeline.Free, pipeline.Limit:
		return Trust{}, true
	case pipeline.HostPath:
		return Trust{Volumes: true}, true
	case pipeline.HostResource:
		if name == "network" || name == "ports" {
			return Trust{Network: true}, true
		}
	case pipeline.Joins:
		if name == "ready" { // a probe looks at its own step alone
			return Trust{}, true
		}
	}
	return Trust{Security: true}, true
}

// missing is the first level that is needed and not there; "" is none.
func (t Trust) missing(needed Trust) string {
	switch {
	case needed.Security && !t.Security:
		return "security"
	case needed.Volumes && !t.Volumes:
		return "volumes"
	case needed.Network && !t.Network:
		return "network"
	}
	return ""
}

// checkOption refuses a key of backend_options.stepexec that a repository is not trusted with.
func (t *translator) checkOption(key string) error {
	needed, ok := OptionTrust(key)
	if !ok {
		return nil // refused by name
	}
	if level := t.trust.missing(needed); level != "" {
		return pipeline.Errors{{
			Key: "backend_options.stepexec." + key, Message: fmt.Sprintf("Insufficient trust level to use `%s`: it needs %s", key, level),
			Hint: "a server does not vouch for these options: whoever runs the agent allows them with --policy",
		}}
	}
	return nil
}

// checkPlugin refuses what would let a workflow decide what a privileged plugin runs. A server
// makes plugins privileged for repositories that it does not trust, too.
func (t *translator) checkPlugin(s *Step, step *pipeline.Step) {
	if !s.Privileged || s.Type != TypePlugin || t.trust.Security {
		return
	}
	refuse := func(key string, given bool) {
		if given {
			t.fail(s, pipeline.Errors{{Key: key, Message: "is not possible in a privileged plugin, which runs as it is"}})
		}
	}
	refuse("commands", len(s.Commands) > 0)
	refuse("entrypoint", len(s.Entrypoint) > 0)
	refuse("user", step.User != "")
	refuse("ready.exec", step.Ready != nil && len(step.Ready.Exec) > 0)
}
