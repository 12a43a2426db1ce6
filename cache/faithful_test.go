package cache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// modes of folders decide what programs do: PostgreSQL and GnuPG refuse a folder that others can read.
func TestTheFolderItselfAndBitsOfFoldersAreKept(t *testing.T) {
	from := t.TempDir()
	must(t, os.Mkdir(filepath.Join(from, "shared"), 0o700))
	must(t, os.Chmod(filepath.Join(from, "shared"), 0o777|os.ModeSticky))
	must(t, os.Mkdir(filepath.Join(from, "group"), 0o700))
	must(t, os.Chmod(filepath.Join(from, "group"), 0o770|os.ModeSetgid))
	must(t, os.WriteFile(filepath.Join(from, "program"), nil, 0o700))
	must(t, os.Chmod(filepath.Join(from, "program"), 0o755|os.ModeSetuid))
	must(t, os.Chmod(from, 0o710))
	into := unpacked(t, from)
	for name, want := range map[string]os.FileMode{
		".": os.ModeDir | 0o710, "shared": os.ModeDir | os.ModeSticky | 0o777, "group": os.ModeDir | os.ModeSetgid | 0o770, "program": 0o755,
	} {
		info, err := os.Lstat(filepath.Join(into, name))
		must(t, err)
		if info.Mode() != want {
			t.Errorf("%s has the mode %v, want %v", name, info.Mode(), want)
		}
		was, err := os.Lstat(filepath.Join(from, name))
		must(t, err)
		if !info.ModTime().Equal(was.ModTime()) {
			t.Errorf("%s changed at %v, want %v", name, info.ModTime(), was.ModTime())
		}
	}
}

func TestHolesTakeNoRoom(t *testing.T) {
	from := t.TempDir()
	content := strings.Repeat("\x00", 3*hole) + "x" + strings.Repeat("\x00", 40*hole) + "end" + strings.Repeat("\x00", 5)
	must(t, os.WriteFile(filepath.Join(from, "file"), []byte(content), 0o644))
	must(t, os.WriteFile(filepath.Join(from, "zeros"), make([]byte, 2*hole), 0o644))
	must(t, os.WriteFile(filepath.Join(from, "dense"), []byte(strings.Repeat("dense", hole)), 0o644))
	into := unpacked(t, from)
	for _, name := range []string{"file", "zeros", "dense"} {
		was, err := os.ReadFile(filepath.Join(from, name))
		must(t, err)
		is, err := os.ReadFile(filepath.Join(into, name))
		must(t, err)
		if string(was) != string(is) {
			t.Errorf("%s has other content: %d bytes, want %d", name, len(is), len(was))
		}
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(into, "file"), &st))
	if taken := st.Blocks * 512; taken > int64(len(content))/2 {
		t.Errorf("a file of %d bytes, most of them zero, takes %d", len(content), taken)
	}
}

// unpacked returns what a step gets of a folder that was saved.
func unpacked(t *testing.T, from string) string {
	t.Helper()
	s, into := Open(t.TempDir(), 0), t.TempDir()
	must(t, s.Save(t.Context(), Item{Scope: "s", Name: "c", Key: Key{"k"}}, from, Limits{}))
	_, found, err := s.Restore(t.Context(), Query{Scopes: Scopes{Read: []string{"s"}}, Name: "c", Key: Key{"k"}}, into, Limits{})
	if err != nil || !found {
		t.Fatalf("found %v: %v", found, err)
	}
	return into
}

func TestADamagedEntryIsReplaced(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"other data": func(file string) error { return os.WriteFile(file, []byte("x"), 0o600) },
		"no data":    os.Remove,
		"cut short":  func(file string) error { return os.Truncate(file, 20) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, main, key := t.TempDir(), branch("main"), Key{"one"}
			s := Open(dir, 0)
			save(t, s, main, key, "first")
			files, err := filepath.Glob(filepath.Join(dir, dataDir, "*"))
			must(t, err)
			must(t, spoil(files[0]))
			_, found, err := s.Restore(t.Context(), Query{Scopes: main, Name: "deps", Key: key}, t.TempDir(), Limits{})
			if found || err == nil || !strings.Contains(err.Error(), "is damaged and was removed") {
				t.Fatalf("found %v: %v", found, err)
			}
			save(t, s, main, key, "second")
			if got, exact := restored(t, s, Query{Scopes: main, Key: key}); got != "second" || !exact {
				t.Errorf("got %q, exact %v", got, exact)
			}
		})
	}
}

// An entry that does not fit is not damaged.
func TestAnEntryThatIsTooLargeForAStepStays(t *testing.T) {
	s, main, key := Open(t.TempDir(), 0), branch("main"), Key{"one"}
	save(t, s, main, key, "content")
	if _, _, err := s.Restore(t.Context(), Query{Scopes: main, Name: "deps", Key: key}, t.TempDir(), Limits{Bytes: 3}); err == nil || strings.Contains(err.Error(), "damaged") {
		t.Errorf("restored: %v", err)
	}
	if got, _ := restored(t, s, Query{Scopes: main, Key: key}); got != "content" {
		t.Errorf("got %q", got)
	}
}
