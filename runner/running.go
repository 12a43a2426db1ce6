package runner

import "sync"

// Running knows which builds go on here, by the ids that their server gave them. The zero value is
// ready. Its methods may be called from several goroutines.
type Running[ID comparable] struct {
	mu  sync.Mutex
	ids map[ID]bool
}

// Begin notes that a build goes on, and reports whether it did not before.
func (r *Running[ID]) Begin(id ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids[id] {
		return false
	}
	if r.ids == nil {
		r.ids = map[ID]bool{}
	}
	r.ids[id] = true
	return true
}

// End notes that a build has ended.
func (r *Running[ID]) End(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, id)
}
