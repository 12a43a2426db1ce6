package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheLargestShareMakesRoom(t *testing.T) {
	entry := func(share string, packed int64) Entry {
		return Entry{Share: share, Scope: share + " branch/x", Packed: packed}
	}
	for _, test := range []struct {
		name string
		all  []Entry // the last used first
		most int64
		want string // shares of what is chosen, in order
	}{
		{"nothing", nil, 10, "[]"},
		{"enough room", []Entry{entry("a", 5), entry("b", 5)}, 10, "[]"},
		{"the oldest of one", []Entry{entry("a", 5), entry("a", 6)}, 10, "[a]"},
		{"a flood of one repository, used last", []Entry{entry("flood", 4), entry("flood", 4), entry("flood", 4), entry("a", 3)}, 10, "[flood flood]"},
		{"proposals do not push out the branch", []Entry{entry("a proposals", 9), entry("a", 8)}, 10, "[a proposals]"},
		{"one that is larger than the room", []Entry{entry("a", 11), entry("b", 5)}, 10, "[a]"},
		{"no room", []Entry{entry("a", 1), entry("b", 2)}, 0, "[b a]"},
		{"entries without a share", []Entry{{Scope: "s", Packed: 6}, {Scope: "t", Packed: 4}, {Scope: "s", Packed: 3}}, 10, "[s]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := []string{}
			for _, e := range Beyond(test.most)(test.all) {
				got = append(got, cmp.Or(e.Share, e.Scope))
			}
			if fmt.Sprint(got) != test.want {
				t.Errorf("chose %v, want %s", got, test.want)
			}
		})
	}
}

func TestSharesOfScopes(t *testing.T) {
	if main, feature, tag := branch("main").Share, branch("feature").Share, ScopesOf(Origin{Repository: "a/b", Event: "tag", Tag: "v1"}).Share; main != "a/b" || feature != main || tag != main {
		t.Errorf("shares of trusted events: %q, %q, %q", main, feature, tag)
	}
	if one, two := pullRequest("refs/pull/1/head").Share, pullRequest("refs/pull/2/head").Share; one != two || one == branch("main").Share {
		t.Errorf("shares of pull requests: %q, %q", one, two)
	}
}

// A run that is interrupted does not wait for whoever holds the store.
func TestWaitingForTheStoreEndsWithTheRun(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, 0)
	save(t, s, branch("main"), Key{"one"}, "one")
	held, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	must(t, err)
	defer held.Close()
	must(t, unix.Flock(int(held.Fd()), unix.LOCK_EX))
	gone := errors.New("the run was interrupted")
	for name, wait := range map[string]func(context.Context) error{
		"save": func(ctx context.Context) error {
			return s.Save(ctx, Item{Scope: "s", Name: "deps", Key: Key{"two"}}, folder(t, "two"), Limits{})
		},
		"restore": func(ctx context.Context) error {
			_, _, err := s.Restore(ctx, Query{Scopes: branch("main"), Name: "deps", Key: Key{"one"}}, t.TempDir(), Limits{})
			return err
		},
		"list":   func(ctx context.Context) error { _, err := s.List(ctx); return err },
		"remove": func(ctx context.Context) error { _, err := s.Remove(ctx, Unused(0)); return err },
		"verify": func(ctx context.Context) error { _, _, err := s.Verify(ctx); return err },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- wait(ctx) }()
		cancel(gone)
		select {
		case err := <-ended:
			if !errors.Is(err, gone) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s still waits a minute after its context has ended", name)
		}
	}
	must(t, held.Close())
	if all, err := s.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("entries %v: %v", all, err)
	}
}
