// Package depottest tests that a depot does what package cache expects of one. It is for tests only.
package depottest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stepexec/stepexec/cache"
)

// Run tests depots that open returns, each of which sees what was put in the others.
func Run(t *testing.T, open func() cache.Depot) {
	store := func(t *testing.T) *cache.Remote {
		s := cache.NewRemote("store", open(), t.TempDir(), cache.Patience{})
		t.Cleanup(s.Close)
		return s
	}
	main, pr := cache.Scopes{Read: []string{"a/b branch/main"}, Write: "a/b branch/main", Share: "a/b"}, cache.Scopes{Read: []string{"a/b event pull_request/1", "a/b branch/main"}, Write: "a/b event pull_request/1"}
	key := cache.Key{"os", "v1", "sum1"}

	if all, err := store(t).List(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("an empty depot has %v: %v", all, err)
	}
	if got := restore(t, store(t), main, key, 2); got != "" {
		t.Fatalf("an empty depot gave %q", got)
	}
	save(t, store(t), main, key, "first")
	save(t, store(t), main, key, "not new")
	time.Sleep(time.Millisecond) // clocks with coarse steps: the newest wins
	save(t, store(t), main, cache.Key{"os", "v1", "sum2"}, "second")
	save(t, store(t), pr, cache.Key{"os", "v2", "sum1"}, "of the pull request")
	for _, test := range []struct {
		name     string
		scopes   cache.Scopes
		key      cache.Key
		fallback int
		want     string
	}{
		{"the whole key", main, key, 0, "first"},
		{"the newest of a beginning", main, cache.Key{"os", "v1", "sum3"}, 1, "second"},
		{"no fallback", main, cache.Key{"os", "v1", "sum3"}, 0, ""},
		{"another number of parts", main, cache.Key{"os", "v1"}, 1, ""},
		{"a branch and a pull request's", main, cache.Key{"os", "v2", "sum1"}, 0, ""},
		{"a pull request and its own", pr, cache.Key{"os", "v2", "sum1"}, 0, "of the pull request"},
		{"a pull request and the branch's", pr, key, 0, "first"},
	} {
		if got := restore(t, store(t), test.scopes, test.key, test.fallback); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	checked, damaged, err := store(t).Verify(t.Context())
	if err != nil || checked != 3 || len(damaged) != 0 {
		t.Errorf("checked %d, damaged %v: %v", checked, damaged, err)
	}
	old := item(main, key)
	old.MaxAge = time.Nanosecond
	if err := store(t).Save(t.Context(), old, folder(t, "replaced"), cache.Limits{}); err != nil {
		t.Error(err)
	}
	if got := restore(t, store(t), main, key, 0); got != "replaced" {
		t.Errorf("an entry that was too old was replaced by %q", got)
	}
	removed, err := store(t).Remove(t.Context(), func(all []cache.Entry) []cache.Entry {
		return slices.DeleteFunc(all, func(e cache.Entry) bool { return e.Key[2] != "sum2" })
	})
	if err != nil || len(removed) != 1 {
		t.Errorf("removed %v: %v", removed, err)
	}
	if got := restore(t, store(t), main, cache.Key{"os", "v1", "sum2"}, 0); got != "" {
		t.Errorf("what was removed gave %q", got)
	}
	if got := restore(t, store(t), main, key, 0); got != "replaced" {
		t.Errorf("beside what was removed: %q", got)
	}
	if removed, err = store(t).Remove(t.Context(), func(all []cache.Entry) []cache.Entry { return all }); err != nil || len(removed) != 2 {
		t.Errorf("removed %v: %v", removed, err)
	}
	if all, err := store(t).List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v is left: %v", all, err)
	}
}

func item(s cache.Scopes, key cache.Key) cache.Item {
	return cache.Item{Scope: s.Write, Share: s.Share, Name: "deps", Key: key}
}

func folder(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func save(t *testing.T, r *cache.Remote, s cache.Scopes, key cache.Key, content string) {
	t.Helper()
	if err := r.Save(t.Context(), item(s, key), folder(t, content), cache.Limits{}); err != nil {
		t.Fatalf("save %q: %v", content, err)
	}
}

func restore(t *testing.T, r *cache.Remote, s cache.Scopes, key cache.Key, fallback int) string {
	t.Helper()
	into := t.TempDir()
	got, found, err := r.Restore(t.Context(), cache.Query{Scopes: s, Name: "deps", Key: key, Fallback: fallback}, into, cache.Limits{})
	if err != nil {
		t.Fatalf("restore %v: %v", key, err)
	}
	if !found {
		return ""
	}
	content, err := os.ReadFile(filepath.Join(into, "file"))
	if err != nil || got.Exact != slices.Equal(got.Entry.Key, key) {
		t.Errorf("%v: exact %v for %v: %v", got.Entry.Key, got.Exact, key, err)
	}
	return string(content)
}
