package sandbox

import (
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/sandbox/network"
)

// hostNetwork describes the host's network before a step could change it.
type hostNetwork struct {
	mu     sync.Mutex
	before []string // see network.Fixtures
	images []string // images of the steps that could change it
}

// note records the host's network before the first step that may change it: one on that network
// with CAP_NET_ADMIN, which privileged steps have. It ignores errors, because nothing depends on
// the record.
func (n *hostNetwork) note(h *Host, step *Step) {
	if h.rootless || !onHostNetwork(step) {
		return
	}
	granted, err := grantedCapabilities(h.capabilities, &step.Security)
	if err != nil || !slices.Contains(granted, "CAP_NET_ADMIN") {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.before == nil {
		if n.before, err = network.Fixtures(); err != nil {
			return
		}
	}
	if !slices.Contains(n.images, step.Image) {
		n.images = append(n.images, step.Image)
	}
}

// left returns a warning about links and tables that the host has gained since, or "" if there are
// none.
func (n *hostNetwork) left() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.images) == 0 {
		return ""
	}
	after, err := network.Fixtures()
	if err != nil {
		return ""
	}
	added := slices.DeleteFunc(after, func(fixture string) bool { return slices.Contains(n.before, fixture) })
	if len(added) == 0 {
		return ""
	}
	return "the host's network has more than before the run: " + strings.Join(added, ", ") +
		"; a step that may change it, of image " + strings.Join(n.images, ", ") + ", can have left that (network: private keeps such steps off the host's network)"
}
