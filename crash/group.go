package crash

import (
	"errors"
	"sync"
)

// Catch calls a function, and returns a panic of it as an error.
func Catch(do func()) (err error) {
	defer Recover(&err)
	do()
	return nil
}

// Group is goroutines that end together. A panic of one of them is an error of Wait; the others
// go on. The zero value is ready for use.
type Group struct {
	running sync.WaitGroup
	mu      sync.Mutex // guards err
	err     error      // panics so far
}

// Go calls a function in a goroutine of its own.
func (g *Group) Go(do func()) {
	g.running.Go(func() { g.Note(Catch(do)) })
}

// Note keeps an error, for example a panic that Catch returned, for Wait. nil is no error.
func (g *Group) Note(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = errors.Join(g.err, err)
}

// Wait waits until all goroutines have ended, and returns their panics.
func (g *Group) Wait() error {
	g.running.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
