// Package schedule decides when each of several things may begin: once everything that it
// waits for is over, and when one of a limited number of places is free. Of those that could
// begin, the one that was added first goes first.
//
//	s := schedule.New(2)                     // two at once
//	compile, test := s.Add("compile"), s.Add("test")
//	test.WaitFor(compile)
//	stuck := s.Start()                       // items that wait for each other
//	<-compile.Turn()                         // may begin
//	compile.End()                            // over, and its place is free
//
// The steps of a pipeline are scheduled so, and the pipelines of a file. The package knows
// nothing of either, and starts no goroutines.
package schedule

import (
	"math"
	"sync"
	"time"
)

// Schedule is a set of items and the places that they share. Use New.
type Schedule struct {
	mu      sync.Mutex // guards the rest, and every item
	free    int        // places
	started bool
	items   []*Item // that have not begun, in the order in which they were added
}

// New returns a schedule with as many places as limit says; 0 or less is no limit.
func New(limit int) *Schedule {
	if limit <= 0 {
		limit = math.MaxInt
	}
	return &Schedule{free: limit}
}

// Item is one thing of a schedule.
type Item struct {
	name     string
	schedule *Schedule
	beside   bool          // it takes no place
	turn     chan struct{} // closed when the item may begin
	before   int           // how many items it still waits for
	after    []*Item       // items that wait for it
	begun    bool          // it has, or had, its turn
	over     bool          // the items that wait for it may go on
	ended    bool          // it needs no place any more

	waitedFor string    // item that was over last, of those that it waited for after Start
	eligible  time.Time // when everything that it waits for was over
	granted   time.Time // when it got its turn
}

// Add adds an item that takes a place.
func (s *Schedule) Add(name string) *Item { return s.add(name, false) }

// AddBeside adds an item that takes no place: it may begin once everything that it waits for
// is over, however many others there are.
func (s *Schedule) AddBeside(name string) *Item { return s.add(name, true) }

func (s *Schedule) add(name string, beside bool) *Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := &Item{name: name, schedule: s, beside: beside, turn: make(chan struct{})}
	s.items = append(s.items, i)
	return i
}

// WaitFor has the item wait for others of its schedule. It must be called before Start.
func (i *Item) WaitFor(others ...*Item) {
	i.schedule.mu.Lock()
	defer i.schedule.mu.Unlock()
	for _, other := range others {
		if !other.over {
			i.before++
			other.after = append(other.after, i)
		}
	}
}

// Start lets items begin. It returns those that never will, because they wait for each other
// or for such items.
func (s *Schedule) Start() (stuck []*Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	stuck = s.stuck()
	for _, i := range s.items {
		if i.before == 0 {
			i.eligible = time.Now()
		}
	}
	s.grant()
	return stuck
}

// stuck ends items in thought, as long as there are any that could begin; the rest is stuck.
func (s *Schedule) stuck() []*Item {
	before := map[*Item]int{}
	var could []*Item
	for _, i := range s.items {
		if before[i] = i.before; i.before == 0 {
			could = append(could, i)
		}
	}
	for len(could) > 0 {
		i := could[len(could)-1]
		could = could[:len(could)-1]
		for _, next := range i.after {
			if before[next]--; before[next] == 0 {
				could = append(could, next)
			}
		}
	}
	var stuck []*Item
	for _, i := range s.items {
		if before[i] > 0 {
			stuck = append(stuck, i)
		}
	}
	return stuck
}

// grant gives turns to the items that may begin.
func (s *Schedule) grant() {
	if !s.started {
		return
	}
	waiting := s.items[:0]
	for _, i := range s.items {
		switch {
		case i.ended:
		case i.before > 0 || !i.beside && s.free == 0:
			waiting = append(waiting, i)
		default:
			if !i.beside {
				s.free--
			}
			i.begun, i.granted = true, time.Now()
			close(i.turn)
		}
	}
	clear(s.items[len(waiting):])
	s.items = waiting
}

// Turn is closed when the item may begin. The turn of an item that ended before never comes.
func (i *Item) Turn() <-chan struct{} { return i.turn }

// Over lets the items go on that wait for this one, which keeps its place. Calls after the
// first one do nothing.
func (i *Item) Over() {
	i.schedule.mu.Lock()
	defer i.schedule.mu.Unlock()
	i.markOver()
	i.schedule.grant()
}

// End is Over, and frees the item's place. Both happen at once: an item that waited for this
// one goes before those that were added after it. Calls after the first one do nothing.
func (i *Item) End() {
	i.schedule.mu.Lock()
	defer i.schedule.mu.Unlock()
	if !i.ended && i.begun && !i.beside {
		i.schedule.free++
	}
	i.ended = true
	i.markOver()
	i.schedule.grant()
}

func (i *Item) markOver() {
	if i.over {
		return
	}
	i.over = true
	for _, next := range i.after {
		if next.before--; i.schedule.started {
			next.waitedFor = i.name
		}
		if next.before == 0 {
			next.eligible = time.Now()
		}
	}
}

// Wait tells of an item's way to its turn, once that has come.
type Wait struct {
	For      string    // item that was over last, of those that it had to wait for; "" for none
	Eligible time.Time // when everything that it waits for was over
	Granted  time.Time // when it got its turn
}

// Waited returns how the item came to its turn; before that what is known of it.
func (i *Item) Waited() Wait {
	i.schedule.mu.Lock()
	defer i.schedule.mu.Unlock()
	return Wait{i.waitedFor, i.eligible, i.granted}
}
