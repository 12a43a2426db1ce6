package cache

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder makes a folder with a file of the content.
func folder(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644))
	return dir
}

func read(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "file"))
	must(t, err)
	return string(content)
}

func save(t *testing.T, s *Store, scopes Scopes, key Key, content string) {
	t.Helper()
	if scopes.Write == "" {
		t.Fatal("the scopes allow no writing")
	}
	must(t, s.Save(t.Context(), Item{Scope: scopes.Write, Share: scopes.Share, Name: "deps", Key: key}, folder(t, content), Limits{}))
}

// restored returns the content that a run gets; "" is nothing.
func restored(t *testing.T, s *Store, q Query) (content string, exact bool) {
	t.Helper()
	q.Name = "deps"
	into := t.TempDir()
	got, found, err := s.Restore(t.Context(), q, into, Limits{})
	must(t, err)
	if !found {
		return "", false
	}
	return read(t, into), got.Exact
}

func branch(name string) Scopes {
	return ScopesOf(Origin{Repository: "a/b", Event: "push", Branch: name, Ref: "refs/heads/" + name, DefaultBranch: "main"})
}

func pullRequest(ref string) Scopes {
	return ScopesOf(Origin{Repository: "a/b", Event: "pull_request", Branch: "main", Ref: ref, DefaultBranch: "main"})
}

func TestNothingOfAnUntrustedEventReachesATrustedOne(t *testing.T) {
	key := Key{"one"}
	untrusted := map[string]Scopes{
		"a pull request":                 pullRequest("refs/pull/1/head"),
		"one with the ref of a branch":   pullRequest("refs/heads/main"),
		"one whose ref climbs":           pullRequest("../../branch/main"),
		"an event nobody knows":          ScopesOf(Origin{Repository: "a/b", Event: "issue_comment", Branch: "main", Ref: "refs/heads/main"}),
		"an event with a hostile name":   ScopesOf(Origin{Repository: "a/b", Event: "x/../branch", Branch: "main", Ref: "main"}),
		"a promoted pull request":        ScopesOf(Origin{Repository: "a/b", Event: "promote", Branch: "main", Ref: "refs/pull/1/head"}),
		"a merge request by hand":        ScopesOf(Origin{Repository: "a/b", Event: "custom", Branch: "main", Ref: "refs/merge-requests/1/head"}),
		"a closed pull request":          ScopesOf(Origin{Repository: "a/b", Event: "pull_request_closed", Branch: "main", Ref: "refs/pull/1/head"}),
		"another repository's branch":    ScopesOf(Origin{Repository: "evil/b", Event: "push", Branch: "main"}),
		"a repository named like a path": ScopesOf(Origin{Repository: "a/b branch", Event: "push", Branch: "main"}),
	}
	trusted := map[string]Scopes{
		"push":   branch("main"),
		"branch": branch("feature"),
		"tag":    ScopesOf(Origin{Repository: "a/b", Event: "tag", Tag: "v1", Ref: "refs/tags/v1", DefaultBranch: "main"}),
		"manual": ScopesOf(Origin{Repository: "a/b", Event: "manual", Branch: "main"}),
		"nobody": ScopesOf(Origin{Repository: "a/b", Branch: "main"}),
	}
	for whose, writer := range untrusted {
		t.Run(whose, func(t *testing.T) {
			s := Open(t.TempDir(), 0)
			save(t, s, writer, key, "poison")
			for who, reader := range trusted {
				if got, _ := restored(t, s, Query{Scopes: reader, Key: key, Fallback: 5}); got != "" {
					t.Errorf("%s read %q", who, got)
				}
				if slices.Contains(reader.Read, writer.Write) {
					t.Errorf("%s reads %q", who, writer.Write)
				}
			}
		})
	}
	if got := pullRequest(""); got.Write != "" || len(got.Read) != 1 {
		t.Errorf("a pull request without a ref has %+v", got)
	}
}

func TestWhoReadsWhat(t *testing.T) {
	s := Open(t.TempDir(), 0)
	key := Key{"one"}
	save(t, s, branch("main"), key, "main")
	save(t, s, branch("feature"), Key{"feature"}, "feature")
	save(t, s, pullRequest("refs/pull/1/head"), Key{"pr"}, "pr 1")
	for _, test := range []struct {
		name   string
		scopes Scopes
		key    Key
		want   string
	}{
		{"a pull request reads its base", pullRequest("refs/pull/1/head"), key, "main"},
		{"a pull request reads its own", pullRequest("refs/pull/1/head"), Key{"pr"}, "pr 1"},
		{"no other pull request's", pullRequest("refs/pull/2/head"), Key{"pr"}, ""},
		{"a branch reads the default branch", branch("feature"), key, "main"},
		{"the default branch reads no other", branch("main"), Key{"feature"}, ""},
		{"no other branch's", branch("other"), Key{"feature"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, _ := restored(t, s, Query{Scopes: test.scopes, Key: test.key}); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestKeysFallBackFromTheirEnd(t *testing.T) {
	s, main := Open(t.TempDir(), 0), branch("main")
	save(t, s, main, Key{"os", "v1", "sum1"}, "first")
	time.Sleep(time.Millisecond) // the newest of equals wins
	save(t, s, main, Key{"os", "v1", "sum2"}, "second")
	save(t, s, main, Key{"os", "v1", "sum2"}, "not new")
	save(t, s, main, Key{"os", "v1"}, "shorter")
	for _, test := range []struct {
		key      Key
		fallback int
		want     string
		exact    bool
	}{
		{Key{"os", "v1", "sum1"}, 0, "first", true},
		{Key{"os", "v1", "sum2"}, 2, "second", true},
		{Key{"os", "v1", "sum3"}, 0, "", false},
		{Key{"os", "v1", "sum3"}, 1, "second", false},
		{Key{"os", "v2", "sum1"}, 1, "", false},
		{Key{"os", "v2", "sum1"}, 2, "second", false},
		{Key{"xx", "v1", "sum1"}, 9, "", false},
		{Key{"os"}, 1, "", false},
	} {
		if got, exact := restored(t, s, Query{Scopes: main, Key: test.key, Fallback: test.fallback}); got != test.want || exact != test.exact {
			t.Errorf("%v with fallback %d: %q, exact %v, want %q, %v", test.key, test.fallback, got, exact, test.want, test.exact)
		}
	}
	if got, _ := restored(t, s, Query{Scopes: main, Key: Key{"os", "v1", "sum1"}, MaxAge: time.Nanosecond}); got != "" {
		t.Errorf("too old, and read: %q", got)
	}
}

func TestAnEntryThatIsTooOldIsReplaced(t *testing.T) {
	s, main, key := Open(t.TempDir(), 0), branch("main"), Key{"os"}
	save(t, s, main, key, "old")
	must(t, s.Save(t.Context(), Item{Scope: main.Write, Name: "deps", Key: key, MaxAge: time.Hour}, folder(t, "same age"), Limits{}))
	if got, _ := restored(t, s, Query{Scopes: main, Key: key}); got != "old" {
		t.Errorf("an entry that is not too old was replaced by %q", got)
	}
	must(t, s.Save(t.Context(), Item{Scope: main.Write, Name: "deps", Key: key, MaxAge: time.Nanosecond}, folder(t, "new"), Limits{}))
	if got, exact := restored(t, s, Query{Scopes: main, Key: key, MaxAge: time.Hour}); got != "new" || !exact {
		t.Errorf("restored %q", got)
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d entries, %v", len(all), err)
	}
}

func TestAFolderComesBackAsItWas(t *testing.T) {
	from := t.TempDir()
	old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	must(t, os.MkdirAll(filepath.Join(from, "a/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(from, "a/deep/script"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.Chmod(filepath.Join(from, "a/deep/script"), 0o755|fs.ModeSetuid))
	must(t, os.Chtimes(filepath.Join(from, "a/deep/script"), old, old))
	must(t, os.Link(filepath.Join(from, "a/deep/script"), filepath.Join(from, "same")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(from, "absolute")))
	must(t, os.Symlink("a/deep", filepath.Join(from, "inside")))
	must(t, unix.Mkfifo(filepath.Join(from, "pipe"), 0o600))
	must(t, os.Chmod(filepath.Join(from, "a/deep"), 0o555))
	must(t, os.Chtimes(filepath.Join(from, "a"), old, old))
	into := t.TempDir()
	t.Cleanup(func() { // without root, nothing could be removed from the folders
		must(t, errors.Join(os.Chmod(filepath.Join(from, "a/deep"), 0o755), os.Chmod(filepath.Join(into, "a/deep"), 0o755)))
	})
	s := Open(t.TempDir(), 0)
	must(t, s.Save(t.Context(), Item{Scope: "scope", Name: "deps", Key: Key{"k"}}, from, Limits{}))
	got, found, err := s.Restore(t.Context(), Query{Scopes: Scopes{Read: []string{"scope"}}, Name: "deps", Key: Key{"k"}}, into, Limits{})
	must(t, err)
	if !found || got.Entry.Files != 6 {
		t.Errorf("found %v, %d files", found, got.Entry.Files)
	}
	info, err := os.Stat(filepath.Join(into, "a/deep/script"))
	must(t, err)
	if info.Mode() != 0o755 || !info.ModTime().Equal(old) {
		t.Errorf("the script has mode %v and time %v", info.Mode(), info.ModTime())
	}
	same, err := os.Stat(filepath.Join(into, "same"))
	must(t, err)
	if !os.SameFile(info, same) {
		t.Error("two names of a file became two files")
	}
	for name, want := range map[string]string{"absolute": "/etc/passwd", "inside": "a/deep"} {
		if got, err := os.Readlink(filepath.Join(into, name)); err != nil || got != want {
			t.Errorf("%s leads to %s: %v", name, got, err)
		}
	}
	if deep, err := os.Stat(filepath.Join(into, "a/deep")); err != nil || deep.Mode().Perm() != 0o555 {
		t.Errorf("the folder has %v: %v", deep.Mode(), err)
	}
	if a, err := os.Stat(filepath.Join(into, "a")); err != nil || !a.ModTime().Equal(old) {
		t.Errorf("the folder has the time %v: %v", a.ModTime(), err)
	}
	if _, err := os.Lstat(filepath.Join(into, "pipe")); err == nil {
		t.Error("a FIFO came back")
	}
}

// archive packs headers as they are.
func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	compressed, err := zstd.NewWriter(&b)
	must(t, err)
	w := tar.NewWriter(compressed)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		h.Mode = 0o4777
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte("x"))
			must(t, err)
		}
	}
	must(t, w.Close())
	must(t, compressed.Close())
	return b.Bytes()
}

func TestHostileArchivesStayInTheirFolder(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"a path that climbs":          {{Typeflag: tar.TypeReg, Name: "../escaped"}},
		"an absolute path":            {{Typeflag: tar.TypeReg, Name: "/tmp/escaped"}},
		"a path that climbs later":    {{Typeflag: tar.TypeDir, Name: "a"}, {Typeflag: tar.TypeReg, Name: "a/../../escaped"}},
		"through a link":              {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, {Typeflag: tar.TypeReg, Name: "l/escaped"}},
		"through an absolute link":    {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "/"}, {Typeflag: tar.TypeReg, Name: "l/escaped"}},
		"onto a link":                 {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../escaped"}, {Typeflag: tar.TypeReg, Name: "l"}},
		"a hard link out":             {{Typeflag: tar.TypeLink, Name: "l", Linkname: "../secret"}},
		"a hard link through a link":  {{Typeflag: tar.TypeSymlink, Name: "d", Linkname: ".."}, {Typeflag: tar.TypeLink, Name: "l", Linkname: "d/secret"}},
		"a device":                    {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		"a FIFO":                      {{Typeflag: tar.TypeFifo, Name: "f"}},
		"a folder over a link":        {{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, {Typeflag: tar.TypeDir, Name: "l"}},
		"the folder itself, later":    {{Typeflag: tar.TypeDir, Name: "a"}, {Typeflag: tar.TypeDir, Name: "."}},
		"a link as the folder itself": {{Typeflag: tar.TypeSymlink, Name: ".", Linkname: "/"}},
		"more files than are allowed": {{Typeflag: tar.TypeReg, Name: "a"}, {Typeflag: tar.TypeReg, Name: "b"}, {Typeflag: tar.TypeReg, Name: "c"}, {Typeflag: tar.TypeReg, Name: "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			into := filepath.Join(outer, "into")
			must(t, os.Mkdir(into, 0o755))
			must(t, os.WriteFile(filepath.Join(outer, "secret"), []byte("secret"), 0o600))
			if err := unpack(t.Context(), bytes.NewReader(archive(t, headers...)), into, Limits{Bytes: 100, Files: 3}); err == nil {
				t.Error("it was unpacked")
			}
			entries, err := os.ReadDir(outer)
			must(t, err)
			if len(entries) != 2 {
				t.Errorf("the folder beside it has %v", entries)
			}
		})
	}
}

// Paths that are kept in memory are bounded, for packing and for unpacking.
func TestManyLongPathsAreRefused(t *testing.T) {
	folders, names := t.TempDir(), t.TempDir()
	for i := range 10 {
		must(t, os.Mkdir(filepath.Join(folders, strings.Repeat("x", 100)+strconv.Itoa(i)), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(names, "file"), nil, 0o644))
	for i := range 10 {
		must(t, os.Link(filepath.Join(names, "file"), filepath.Join(names, strings.Repeat("x", 100)+strconv.Itoa(i))))
	}
	for _, from := range []string{folders, names} {
		s := Open(t.TempDir(), 0)
		if err := s.Save(t.Context(), Item{Scope: "s", Name: "c", Key: Key{"k"}}, from, Limits{Paths: 500}); err == nil || !strings.Contains(err.Error(), "more than 500 bytes") {
			t.Errorf("saved: %v", err)
		}
		must(t, s.Save(t.Context(), Item{Scope: "s", Name: "c", Key: Key{"k"}}, from, Limits{Paths: 2000}))
		if from == names {
			continue // unpacking keeps none of them
		}
		_, _, err := s.Restore(t.Context(), Query{Scopes: Scopes{Read: []string{"s"}}, Name: "c", Key: Key{"k"}}, t.TempDir(), Limits{Paths: 500})
		if err == nil || !strings.Contains(err.Error(), "more than 500 bytes") {
			t.Errorf("restored: %v", err)
		}
	}
}

// A sparse file can be huge, and must not keep a run that was interrupted.
func TestSavingEndsInTheMiddleOfAFile(t *testing.T) {
	from := t.TempDir()
	must(t, os.WriteFile(filepath.Join(from, "huge"), nil, 0o644))
	must(t, os.Truncate(filepath.Join(from, "huge"), 4<<30))
	ctx := &endsLater{Context: t.Context()}
	if err := Open(t.TempDir(), 0).Save(ctx, Item{Scope: "s", Name: "c", Key: Key{"k"}}, from, Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// endsLater has ended once somebody has asked it several times.
type endsLater struct {
	context.Context
	asked atomic.Int64
}

func (c *endsLater) Err() error {
	if c.asked.Add(1) > 3 {
		return context.Canceled
	}
	return nil
}

func (c *endsLater) Value(any) any { return nil }

func TestDamagedDataAreNoticed(t *testing.T) {
	dir := t.TempDir()
	s, main := Open(dir, 0), branch("main")
	save(t, s, main, Key{"k"}, "content")
	data, err := filepath.Glob(filepath.Join(dir, "data", "*"))
	must(t, err)
	if len(data) != 1 {
		t.Fatalf("data: %v", data)
	}
	other := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "file"}) // sound in itself
	must(t, os.WriteFile(data[0], other, 0o600))
	checked, damaged, err := s.Verify(t.Context())
	must(t, err)
	if checked != 1 || len(damaged) != 1 {
		t.Errorf("checked %d, damaged %v", checked, damaged)
	}
	if _, _, err := s.Restore(t.Context(), Query{Scopes: main, Name: "deps", Key: Key{"k"}}, t.TempDir(), Limits{}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error %v", err)
	}
}

func TestTheStoreKeepsItsLimit(t *testing.T) {
	dir := t.TempDir()
	s, main := Open(dir, 1), branch("main")
	save(t, s, main, Key{"one"}, "one")
	if all, err := s.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("entries %v: %v", all, err)
	}
	s = Open(dir, 400)
	for _, key := range []string{"one", "two", "three", "four"} {
		save(t, s, main, Key{key}, key)
	}
	all, err := s.List(t.Context())
	must(t, err)
	var bytes int64
	for _, e := range all {
		bytes += e.Packed
	}
	data, _ := os.ReadDir(filepath.Join(dir, "data"))
	if len(all) == 0 || len(all) == 4 || bytes > 400 || len(data) != len(all) {
		t.Errorf("%d entries of %d bytes, %d files", len(all), bytes, len(data))
	}
	must(t, os.WriteFile(filepath.Join(dir, "data", tempPrefix+"killed"), nil, 0o600))
	removed, err := s.Remove(t.Context(), func(all []Entry) []Entry { return all })
	must(t, err)
	left, _ := os.ReadDir(filepath.Join(dir, "data"))
	if len(removed) != len(all) || len(left) != 0 {
		t.Errorf("removed %d, left %v", len(removed), left)
	}
}

func TestATooLargeFolderIsNotSaved(t *testing.T) {
	s := Open(t.TempDir(), 0)
	for _, l := range []Limits{{Bytes: 3}, {Files: 1}} {
		dir := folder(t, "four")
		must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
		if err := s.Save(t.Context(), Item{Scope: "scope", Name: "deps", Key: Key{"k"}}, dir, l); err == nil {
			t.Errorf("%+v: it was saved", l)
		}
	}
	if all, err := s.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("entries %v: %v", all, err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("not zstd"), "../x", byte('0'))
	f.Fuzz(func(t *testing.T, raw []byte, name string, kind byte) {
		outer := t.TempDir()
		into := filepath.Join(outer, "into")
		must(t, os.Mkdir(into, 0o755))
		_ = unpack(t.Context(), bytes.NewReader(raw), into, Limits{Bytes: 1 << 20, Files: 100})
		var b bytes.Buffer
		compressed, _ := zstd.NewWriter(&b)
		w := tar.NewWriter(compressed)
		if w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "..", Format: tar.FormatPAX}) != nil ||
			w.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Linkname: "l", Format: tar.FormatPAX}) != nil {
			return
		}
		_, _ = w.Close(), compressed.Close()
		_ = unpack(t.Context(), &b, into, Limits{Bytes: 1 << 20, Files: 100})
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Errorf("%q of type %q left its folder: %v", name, kind, entries)
		}
	})
}
