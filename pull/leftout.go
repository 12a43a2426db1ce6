package pull

import (
	"errors"
	"fmt"
	"strings"
)

// failedMirror is a mirror and the reason why it failed to answer.
type failedMirror struct {
	mirror *endpoint
	reason error // explained
}

// leftOut remembers mirrors that another endpoint replaced, each once. A mirror that just lacks the
// image is not worth a warning: not every mirror has all images.
func (r *registry) leftOut(failed []failedMirror, used *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range failed {
		if r.told[f.mirror] == "" && !errors.Is(f.reason, ErrNotFound) {
			registry := r.endpoints[len(r.endpoints)-1].host()
			r.told[f.mirror] = fmt.Sprintf("mirror %s of %s: %v; used %s", f.mirror.host(), registry, f.reason, used.host())
		}
	}
}

// warnings returns the warnings that leftOut stored, in the order of the mirrors.
func (r *registry) warnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, e := range r.endpoints {
		if text := r.told[e]; text != "" {
			all = append(all, text)
		}
	}
	return all
}

func listFailed(failed []failedMirror) string {
	var texts []string
	for _, f := range failed {
		texts = append(texts, fmt.Sprintf("mirror %s: %v", f.mirror.host(), f.reason))
	}
	return strings.Join(texts, "; ")
}
