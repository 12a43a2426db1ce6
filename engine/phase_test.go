package engine

import (
	"fmt"
	"slices"
	"testing"
)

// The moves that the package comment draws; every other one is forbidden.
var drawn = map[phase][]phase{
	pending:  {ahead, starting, ended},
	ahead:    {starting, ended},
	starting: {starting, running, ended},
	running:  {starting, settled, ended},
	settled:  {ended},
	ended:    {},
}

func TestANodeMovesOnlyAsDrawn(t *testing.T) {
	way := map[phase][]phase{ // to each phase
		ahead: {ahead}, starting: {starting}, running: {starting, running}, settled: {starting, running, settled}, ended: {ended},
	}
	for from := pending; from <= ended; from++ {
		for to := pending; to <= ended; to++ {
			t.Run(fmt.Sprintf("%v to %v", from, to), func(t *testing.T) {
				l := newLife()
				for _, p := range way[from] {
					l.move(p)
				}
				moved := func() (moved bool) {
					defer func() { moved = recover() == nil }()
					l.move(to)
					return
				}()
				if want := slices.Contains(drawn[from], to); moved != want {
					t.Errorf("moved: %v, want %v", moved, want)
				}
			})
		}
	}
}

func TestWhoWaitsForAPhaseIsToldByEveryLaterOne(t *testing.T) {
	l := newLife()
	told := func(p phase) bool {
		select {
		case <-l.reached(p):
			return true
		default:
			return false
		}
	}
	for _, to := range []phase{starting, running, starting, running, ended} { // with a further attempt
		l.move(to)
	}
	for p := ahead; p <= ended; p++ {
		if !told(p) || !l.has(p) {
			t.Errorf("who waits for %v is not told of the end", p)
		}
	}
	if l = newLife(); told(ahead) || l.has(ahead) {
		t.Error("a new node has come further than pending")
	}
}

func TestAFailureCountsUntilTheNodeIsSettled(t *testing.T) {
	for _, test := range []struct {
		moves []phase
		want  bool
	}{
		{nil, true},
		{[]phase{starting, running}, true},
		{[]phase{starting, running, settled}, false},
		{[]phase{ended}, false},
	} {
		l := newLife()
		for _, p := range test.moves {
			l.move(p)
		}
		l.fail()
		if l.hasFailed() != test.want {
			t.Errorf("after %v: failed is %v", test.moves, l.hasFailed())
		}
	}
}
