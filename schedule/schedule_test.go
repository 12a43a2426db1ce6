package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stepexec/stepexec/schedule"
)

// diagram is a schedule from lines "NAME [beside] [after NAME...]", in order.
func diagram(t *testing.T, limit int, lines ...string) (*schedule.Schedule, map[string]*schedule.Item) {
	t.Helper()
	s, items := schedule.New(limit), map[string]*schedule.Item{}
	for _, line := range lines {
		name := strings.Fields(line)[0]
		if strings.Contains(line, " beside") {
			items[name] = s.AddBeside(name)
		} else {
			items[name] = s.Add(name)
		}
	}
	for _, line := range lines {
		words := strings.Fields(line)
		if i := slices.Index(words, "after"); i > 0 {
			for _, before := range words[i+1:] {
				items[words[0]].WaitFor(items[before])
			}
		}
	}
	return s, items
}

func begun(items map[string]*schedule.Item) string {
	var names []string
	for name, i := range items {
		select {
		case <-i.Turn():
			names = append(names, name)
		default:
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestTurnsComeInOrderWhenEverythingBeforeIsOver(t *testing.T) {
	for _, test := range []struct {
		name  string
		limit int
		lines []string
		do    []string // "end NAME" or "over NAME"
		want  []string // what has begun: at the start, and after each of do
	}{
		{"no limit", 0, []string{"a", "b", "c after a"}, []string{"end a"}, []string{"a b", "a b c"}},
		{"one at a time, in order", 1, []string{"a", "b", "c"}, []string{"end a", "end b"}, []string{"a", "a b", "a b c"}},
		{"a dependent that was added earlier goes first", 1, []string{"b after a", "a", "c"}, []string{"end a", "end b"}, []string{"a", "a b", "a b c"}},
		{"one that must wait holds up none after it", 2, []string{"a", "b after a", "c", "d"}, []string{"end c"}, []string{"a c", "a c d"}},
		{"over without its place", 1, []string{"a", "b after a"}, []string{"over a", "end a"}, []string{"a", "a", "a b"}},
		{"over with another place free", 2, []string{"a", "b after a"}, []string{"over a", "end a"}, []string{"a", "a b", "a b"}},
		{"beside the others", 1, []string{"a", "s beside", "t beside after s", "b after t"}, []string{"over s", "over t", "end a"}, []string{"a s", "a s t", "a s t", "a b s t"}},
		{"an end twice frees one place", 1, []string{"a", "b", "c"}, []string{"end a", "end a"}, []string{"a", "a b", "a b"}},
		{"all before it", 0, []string{"a", "b", "c after a b"}, []string{"end a", "end b"}, []string{"a b", "a b", "a b c"}},
		{"ended before its turn", 1, []string{"a", "b", "c after b"}, []string{"end b", "end a"}, []string{"a", "a", "a c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, items := diagram(t, test.limit, test.lines...)
			if stuck := s.Start(); len(stuck) > 0 {
				t.Errorf("%d items are stuck", len(stuck))
			}
			got := []string{begun(items)}
			for _, line := range test.do {
				what, name, _ := strings.Cut(line, " ")
				if what == "over" {
					items[name].Over()
				} else {
					items[name].End()
				}
				got = append(got, begun(items))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatIsOverBeforeTheStartIsNotWaitedFor(t *testing.T) {
	s, items := diagram(t, 1, "a", "b", "c after a b")
	items["a"].End()
	s.Start()
	items["b"].End()
	if got := begun(items); got != "b c" {
		t.Errorf("begun: %q", got)
	}
	wait := items["c"].Waited()
	if wait.For != "b" || wait.Eligible.IsZero() || wait.Granted.Before(wait.Eligible) {
		t.Errorf("c: %+v", wait)
	}
	if wait := items["b"].Waited(); wait.For != "" {
		t.Errorf("b: %+v", wait)
	}
}

func TestItemsThatWaitForEachOtherAreStuck(t *testing.T) {
	s, items := diagram(t, 0, "a", "b after c", "c after b", "d after c", "e after a")
	stuck := s.Start()
	want := []*schedule.Item{items["b"], items["c"], items["d"]}
	if !slices.Equal(stuck, want) {
		t.Errorf("%d items are stuck", len(stuck))
	}
	if got := begun(items); got != "a" {
		t.Errorf("begun: %q", got)
	}
}

// TestNoMoreThanTheLimitAtOnce ends the items of random graphs from goroutines of their own.
func TestNoMoreThanTheLimitAtOnce(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		limit := 1 + random.IntN(4)
		s := schedule.New(limit)
		items, before := make([]*schedule.Item, 60), make([][]int, 60)
		for i := range items {
			items[i] = s.Add(fmt.Sprint(i))
		}
		for i := range items {
			for j := range i {
				if random.IntN(20) == 0 {
					before[i] = append(before[i], j)
					items[i].WaitFor(items[j])
				}
			}
		}
		var mu sync.Mutex
		running, over := 0, make([]bool, len(items))
		var all sync.WaitGroup
		for i, item := range items {
			all.Go(func() {
				<-item.Turn()
				mu.Lock()
				running++
				if running > limit {
					t.Errorf("seed %d: %d run at once, of %d", seed, running, limit)
				}
				for _, j := range before[i] {
					if !over[j] {
						t.Errorf("seed %d: %d began before %d was over", seed, i, j)
					}
				}
				mu.Unlock()
				mu.Lock()
				running--
				over[i] = true
				mu.Unlock()
				item.End()
			})
		}
		s.Start()
		all.Wait()
	}
}
