package cache

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sealed returns the store of a machine with a key.
func sealed(t *testing.T, m *memory, key string) *Remote {
	s := m.store(t, Patience{})
	s.SealWith([]byte(key))
	return s
}

func TestNothingThatTheKeyDidNotSealIsUsed(t *testing.T) {
	main, key := branch("main"), Key{"os", "sum"}
	item := Item{Scope: main.Write, Name: "deps", Key: key}
	query := Query{Scopes: main, Name: "deps", Key: key, Fallback: 1}
	for name, forge := range map[string]func(m *memory){
		"nothing sealed it":        func(m *memory) { m.change(t, func(e *Entry) { e.Seal = nil }) },
		"a cut seal":               func(m *memory) { m.change(t, func(e *Entry) { e.Seal = e.Seal[:8] }) },
		"other data":               func(m *memory) { m.change(t, func(e *Entry) { e.Digest = strings.Repeat("ab", 32) }) },
		"a fresher time":           func(m *memory) { m.change(t, func(e *Entry) { e.Created = e.Created.Add(time.Hour) }) },
		"another scope's":          func(m *memory) { m.change(t, func(e *Entry) { e.Scope = "a/b event pull_request/1" }) },
		"another key's":            func(m *memory) { m.change(t, func(e *Entry) { e.Key = Key{"os", "other"} }) },
		"parts of the key moved":   func(m *memory) { m.change(t, func(e *Entry) { e.Name, e.Key = "deps\"\n\"os", Key{"sum"} }) },
		"another machine's secret": func(m *memory) { must(t, sealed(t, m, "other").Save(t.Context(), item, folder(t, "poison"), Limits{})) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			if name != "another machine's secret" {
				must(t, sealed(t, m, "secret").Save(t.Context(), item, folder(t, "content"), Limits{}))
			}
			forge(m)
			s := sealed(t, m, "secret")
			_, found, err := s.Restore(t.Context(), query, t.TempDir(), Limits{})
			if found || err == nil || !strings.Contains(err.Error(), "not sealed with the key") {
				t.Fatalf("found %v: %v", found, err)
			}
			if _, damaged, err := s.Verify(t.Context()); err != nil || len(damaged) != 1 && name != "another scope's" && name != "another key's" && name != "parts of the key moved" {
				t.Errorf("damaged %v: %v", damaged, err)
			}
			must(t, s.Save(t.Context(), item, folder(t, "anew"), Limits{})) // it is replaced
			into := t.TempDir()
			if _, found, err := s.Restore(t.Context(), query, into, Limits{}); err != nil || !found || read(t, into) != "anew" {
				t.Errorf("found %v: %v", found, err)
			}
		})
	}
}

// Machines without the key go on reading, and one forged entry does not hide a good one.
func TestSealsDoNotGetInTheWay(t *testing.T) {
	m, main, pr := newMemory(), branch("main"), pullRequest("refs/pull/1/head")
	key := Key{"os", "sum"}
	must(t, sealed(t, m, "secret").Save(t.Context(), Item{Scope: main.Write, Name: "deps", Key: key}, folder(t, "good"), Limits{}))
	good := maps.Clone(m.entries)
	must(t, m.store(t, Patience{}).Save(t.Context(), Item{Scope: pr.Write, Name: "deps", Key: key}, folder(t, "forged"), Limits{}))
	for at := range good {
		m.entries[at] = good[at]
	}
	for want, s := range map[string]*Remote{"good": sealed(t, m, "secret"), "forged": m.store(t, Patience{})} {
		into := t.TempDir()
		if _, found, err := s.Restore(t.Context(), Query{Scopes: pr, Name: "deps", Key: key}, into, Limits{}); err != nil || !found || read(t, into) != want {
			t.Errorf("%s: found %v: %v", want, found, err)
		}
	}
}

func TestReadSharedKey(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"good": 32, "short": 31, "empty": 0, "long": 64<<10 + 1} {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, make([]byte, size), 0o600))
		key, err := ReadSharedKey(file)
		if isGood := name == "good"; isGood != (err == nil) || isGood && len(key) != size {
			t.Errorf("%s: %d bytes: %v", name, len(key), err)
		}
	}
	for _, file := range []string{filepath.Join(dir, "none"), dir, "/dev/zero"} {
		if _, err := ReadSharedKey(file); err == nil {
			t.Errorf("%s is a key", file)
		}
	}
}
