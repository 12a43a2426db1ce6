package artifact_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/artifact"
)

// entry is something in a workspace: a file with a content, unless it says otherwise.
type entry struct {
	path, content, link string
	folder, fifo        bool
	mode                os.FileMode
}

// workspace makes a workspace beside a file that no artifact may have.
func workspace(t *testing.T, entries ...entry) string {
	t.Helper()
	outside := t.TempDir()
	dir := filepath.Join(outside, "workspace")
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	must(t, os.Mkdir(dir, 0o755))
	for _, e := range entries {
		path := filepath.Join(dir, e.path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case e.folder:
			must(t, os.MkdirAll(path, 0o755))
		case e.fifo:
			must(t, unix.Mkfifo(path, 0o666))
		case e.link != "":
			must(t, os.Symlink(e.link, path))
		default:
			must(t, os.WriteFile(path, []byte(e.content), max(e.mode, 0o600)))
		}
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// collect collects into a new folder, and returns the files that are there afterwards.
func collect(t *testing.T, dir string, patterns []string, l artifact.Limits, most int64) ([]string, artifact.Collected, error) {
	t.Helper()
	parsed, err := artifact.ParsePatterns(patterns)
	must(t, err)
	place, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer place.Close()
	into := filepath.Join(t.TempDir(), "artifacts")
	folder, err := artifact.Open(into, 0o755, most)
	must(t, err)
	defer folder.Close()
	got, err := folder.Collect(t.Context(), place, "all", parsed, l)
	var files []string
	must(t, filepath.WalkDir(into, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if !e.Type().IsRegular() {
				t.Errorf("%s is not a regular file", path)
			}
			rel, _ := filepath.Rel(into, path)
			files = append(files, rel)
		}
		return err
	}))
	if left, _ := filepath.Glob(filepath.Join(into, ".*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	return files, got, err
}

func TestPatternsChooseFiles(t *testing.T) {
	dir := workspace(t,
		entry{path: "dist/app", content: "app", mode: 0o755}, entry{path: "dist/app.map"}, entry{path: "dist/sub/deep/x.txt"},
		entry{path: "a.log"}, entry{path: "logs/b.log"}, entry{path: "logs/old/c.log"}, entry{path: "logs/d.txt"}, entry{path: ".hidden/e.log"},
		entry{path: "empty", folder: true}, entry{path: "star*name/f"}, entry{path: "starXname/g"},
	)
	for _, test := range []struct {
		name     string
		patterns []string
		want     []string
	}{
		{"a file", []string{"dist/app"}, []string{"dist/app"}},
		{"a folder with all below", []string{"dist"}, []string{"dist/app", "dist/app.map", "dist/sub/deep/x.txt"}},
		{"a slash at the end", []string{"./dist/sub/"}, []string{"dist/sub/deep/x.txt"}},
		{"a star ends at a slash", []string{"*.log"}, []string{"a.log"}},
		{"a star in a folder", []string{"logs/*.log"}, []string{"logs/b.log"}},
		{"any depth", []string{"**/*.log"}, []string{".hidden/e.log", "a.log", "logs/b.log", "logs/old/c.log"}},
		{"a star matches a folder", []string{"l*"}, []string{"logs/b.log", "logs/d.txt", "logs/old/c.log"}},
		{"alternatives with slashes", []string{"{dist/sub,logs/old}/**"}, []string{"dist/sub/deep/x.txt", "logs/old/c.log"}},
		{"patterns that overlap", []string{"logs", "**/b.log", "logs/b.log"}, []string{"logs/b.log", "logs/d.txt", "logs/old/c.log"}},
		{"excluded files", []string{"dist", "!**/*.map"}, []string{"dist/app", "dist/sub/deep/x.txt"}},
		{"an excluded folder", []string{"**/*.log", "!logs"}, []string{".hidden/e.log", "a.log"}},
		{"an excluded folder that is named", []string{"logs/old", "!logs"}, nil},
		{"a quoted star", []string{`star\*name/*`}, []string{"star*name/f"}},
		{"everything", []string{"."}, []string{".hidden/e.log", "a.log", "dist/app", "dist/app.map", "dist/sub/deep/x.txt", "logs/b.log", "logs/d.txt", "logs/old/c.log", "star*name/f", "starXname/g"}},
		{"nothing", []string{"no/such", "*.none", "a.log/x", "a.log/*"}, nil},
		{"an empty folder", []string{"empty"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			files, got, err := collect(t, dir, test.patterns, artifact.Limits{}, 0)
			must(t, err)
			for i := range test.want {
				test.want[i] = "all/" + test.want[i]
			}
			if !slices.Equal(files, test.want) || got.Files != len(test.want) {
				t.Errorf("%d files: %v, want %v", got.Files, files, test.want)
			}
		})
	}
}

func TestContentAndModeAreKept(t *testing.T) {
	dir := workspace(t, entry{path: "app", content: "app", mode: 0o755}, entry{path: "setuid", content: "x", mode: 0o755}, entry{path: "note", content: "12345", mode: 0o600})
	must(t, os.Chmod(filepath.Join(dir, "setuid"), 0o755|os.ModeSetuid))
	place, err := os.OpenFile(dir, unix.O_PATH, 0)
	must(t, err)
	defer place.Close()
	into := t.TempDir()
	folder, err := artifact.Open(into, 0o755, 0)
	must(t, err)
	defer folder.Close()
	patterns, err := artifact.ParsePatterns([]string{"*"})
	must(t, err)
	got, err := folder.Collect(t.Context(), place, "all", patterns, artifact.Limits{})
	must(t, err)
	if got.Bytes != 9 {
		t.Errorf("%d bytes, want 9", got.Bytes)
	}
	for name, mode := range map[string]os.FileMode{"app": 0o755, "setuid": 0o755, "note": 0o644} {
		info, err := os.Stat(filepath.Join(into, "all", name))
		must(t, err)
		if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
	if _, err := folder.Collect(t.Context(), place, "all", patterns, artifact.Limits{}); err == nil {
		t.Error("an artifact took the place of another")
	}
}

func TestLinksLeadNowhereElse(t *testing.T) {
	dir := workspace(t,
		entry{path: "real/file", content: "inside"},
		entry{path: "out/in", link: "../real/file"}, // as a file
		entry{path: "out/absolute", link: "/etc/passwd"}, entry{path: "out/relative", link: "../../secret"},
		entry{path: "out/parent", link: "../.."}, entry{path: "out/proc", link: "/proc/self/root/etc/passwd"},
		entry{path: "out/folder", link: "../real"}, entry{path: "out/self", link: "self"}, entry{path: "out/dangling", link: "none"},
		entry{path: "away", link: "/etc"}, entry{path: "up", link: ".."}, entry{path: "alias", link: "real"},
	)
	files, got, err := collect(t, dir, []string{"out"}, artifact.Limits{}, 0)
	must(t, err)
	if !slices.Equal(files, []string{"all/out/in"}) || got.Links != 7 {
		t.Errorf("files %v, %d links left out, want out/in and 7", files, got.Links)
	}
	for _, patterns := range [][]string{{"away/passwd"}, {"away/*"}, {"up/secret"}, {"up/*"}, {"up"}, {"out/parent/secret"}, {"out/parent/**"}, {"**/passwd"}, {"**/secret"}} {
		files, _, err := collect(t, dir, patterns, artifact.Limits{}, 0)
		must(t, err)
		if len(files) > 0 {
			t.Errorf("%v collected %v", patterns, files)
		}
	}
	files, _, err = collect(t, dir, []string{"alias"}, artifact.Limits{}, 0) // a link that the pattern names, and that stays inside
	must(t, err)
	if !slices.Equal(files, []string{"all/alias/file"}) {
		t.Errorf("collected %v", files)
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	dir := workspace(t, entry{path: "out/fifo", fifo: true}, entry{path: "out/file"}, entry{path: "sockets", folder: true})
	socket, err := net.Listen("unix", filepath.Join(dir, "sockets/s"))
	must(t, err)
	defer socket.Close()
	for pattern, want := range map[string]string{"out": "FIFO", "out/fifo": "FIFO", "**": "is a ", "sockets/*": "socket"} {
		files, _, err := collect(t, dir, []string{pattern}, artifact.Limits{}, 0)
		if err == nil || !strings.Contains(err.Error(), want) || len(files) > 0 {
			t.Errorf("%s: %v, files %v", pattern, err, files)
		}
	}
	files, _, err := collect(t, dir, []string{"out", "!out/fifo"}, artifact.Limits{}, 0)
	must(t, err)
	if len(files) != 1 {
		t.Errorf("files %v", files)
	}
}

func TestLimitsHold(t *testing.T) {
	dir := workspace(t, entry{path: "a", content: "1234"}, entry{path: "b", content: "5678"}, entry{path: "deep/er/c"}, entry{path: "huge"})
	must(t, os.Truncate(filepath.Join(dir, "huge"), 1<<40))
	for _, test := range []struct {
		name     string
		patterns []string
		limits   artifact.Limits
		most     int64
		want     string // in the error; "" is none
	}{
		{"just enough bytes", []string{"a", "b"}, artifact.Limits{Bytes: 8}, 8, ""},
		{"a byte too much", []string{"a", "b"}, artifact.Limits{Bytes: 7}, 0, "more than 7 bytes"},
		{"too much for the folder", []string{"a", "b"}, artifact.Limits{}, 7, "more than 7 bytes of artifacts"},
		{"a sparse file with a high limit, too much for the folder", []string{"huge"}, artifact.Limits{Bytes: 1 << 41}, 1000, "with huge the run would have more than 1000 bytes of artifacts"},
		{"a sparse file", []string{"huge"}, artifact.Limits{}, 0, "more than 1073741824 bytes"},
		{"just enough files", []string{"deep"}, artifact.Limits{Files: 3}, 0, ""},
		{"folders count", []string{"deep"}, artifact.Limits{Files: 2}, 0, "more than 2 files and folders"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files, _, err := collect(t, dir, test.patterns, test.limits, test.most)
			if test.want == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || len(files) > 0 {
				t.Errorf("error %v, want %s; files %v", err, test.want, files)
			}
		})
	}
}

func TestSearchInAHugeWorkspaceEnds(t *testing.T) {
	dir := workspace(t)
	for i := range 500 {
		must(t, os.WriteFile(filepath.Join(dir, "f"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/26)), nil, 0o600))
	}
	_, _, err := collect(t, dir, []string{"**/none"}, artifact.Limits{Files: 1}, 0)
	if err == nil || !strings.Contains(err.Error(), "too many files to look through") {
		t.Errorf("error %v", err)
	}
}

// A step must not take the memory of the machine with the paths of its folders.
func TestFoldersOfAWorkspaceTakeLittleMemory(t *testing.T) {
	long := strings.Repeat("x", 250)
	dir := workspace(t, entry{path: strings.Repeat(long+"/", 12) + "f"})
	in := filepath.Join(dir, strings.Repeat(long+"/", 12))
	for i := range 3000 {
		must(t, os.Mkdir(filepath.Join(in, strings.Repeat("d", i/100+1)+strings.Repeat("e", i%100)), 0o700))
	}
	place, err := os.OpenFile(dir, unix.O_PATH, 0)
	must(t, err)
	defer place.Close()
	patterns, err := artifact.ParsePatterns([]string{"**"})
	must(t, err)
	folder, err := artifact.Open(t.TempDir(), 0o755, 0)
	must(t, err)
	defer folder.Close()
	var held runtime.MemStats
	ctx := &atEnd{Context: t.Context(), look: func() { runtime.GC(); runtime.ReadMemStats(&held) }}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = folder.Collect(ctx, place, "all", patterns, artifact.Limits{})
	must(t, err)
	if grown := int64(held.HeapAlloc) - int64(before.HeapAlloc); ctx.asked == 0 || grown > 4<<20 {
		t.Errorf("looked %d times; %d bytes were held", ctx.asked, grown)
	}
}

// atEnd looks at something whenever somebody asks whether it has ended.
type atEnd struct {
	context.Context
	look  func()
	asked int
}

func (c *atEnd) Err() error {
	c.asked++
	c.look()
	return c.Context.Err()
}

func TestAFolderThatIsReplacedByALinkIsNotFollowed(t *testing.T) {
	dir := workspace(t, entry{path: "file", content: "x"})
	outer := t.TempDir()
	into, elsewhere := filepath.Join(outer, "artifacts"), filepath.Join(outer, "elsewhere")
	folder, err := artifact.Open(into, 0o755, 0)
	must(t, err)
	defer folder.Close()
	must(t, os.Rename(into, into+".real"))
	must(t, os.Mkdir(elsewhere, 0o755))
	must(t, os.Symlink(elsewhere, into))
	place, err := os.OpenFile(dir, unix.O_PATH, 0)
	must(t, err)
	defer place.Close()
	patterns, err := artifact.ParsePatterns([]string{"file"})
	must(t, err)
	if _, err = folder.Collect(t.Context(), place, "all", patterns, artifact.Limits{}); err == nil {
		t.Error("files were collected to where nobody finds them")
	}
	if entries, _ := os.ReadDir(elsewhere); len(entries) > 0 {
		t.Errorf("files went to where the link leads: %v", entries)
	}
}

func TestCollectingEndsWithItsContext(t *testing.T) {
	dir := workspace(t, entry{path: "file", content: "x"})
	place, err := os.OpenFile(dir, unix.O_PATH, 0)
	must(t, err)
	defer place.Close()
	folder, err := artifact.Open(t.TempDir(), 0o755, 0)
	must(t, err)
	defer folder.Close()
	patterns, err := artifact.ParsePatterns([]string{"file"})
	must(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the run was interrupted")
	cancel(why)
	if _, err := folder.Collect(ctx, place, "all", patterns, artifact.Limits{}); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
}

func TestWhatAKilledRunHasLeftIsReplaced(t *testing.T) {
	dir := workspace(t, entry{path: "file", content: "x"})
	place, err := os.OpenFile(dir, unix.O_PATH, 0)
	must(t, err)
	defer place.Close()
	into := t.TempDir()
	folder, err := artifact.Open(into, 0o755, 0)
	must(t, err)
	defer folder.Close()
	patterns, err := artifact.ParsePatterns([]string{"file"})
	must(t, err)
	part := filepath.Join(into, ".part-all")
	must(t, os.Mkdir(part, 0o755))
	must(t, os.WriteFile(filepath.Join(part, "old"), nil, 0o600))

	living, err := os.Open(part)
	must(t, err)
	must(t, unix.Flock(int(living.Fd()), unix.LOCK_EX))
	if _, err := folder.Collect(t.Context(), place, "all", patterns, artifact.Limits{}); err == nil || !strings.Contains(err.Error(), "another run collects") {
		t.Errorf("while another run collects: %v", err)
	}
	must(t, living.Close()) // it was killed

	_, err = folder.Collect(t.Context(), place, "all", patterns, artifact.Limits{})
	must(t, err)
	entries, err := os.ReadDir(filepath.Join(into, "all"))
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("collected: %v", entries)
	}
	if _, err := os.Lstat(part); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left over: %v", err)
	}
}

func TestBadPatternsAreRefused(t *testing.T) {
	for _, patterns := range [][]string{nil, {""}, {"/etc"}, {"../x"}, {"a/../../x"}, {"a/.."}, {"!"}, {"!x"}, {"["}, {"a\x00b"}, {"//"}} {
		if _, err := artifact.ParsePatterns(patterns); err == nil {
			t.Errorf("%q were accepted", patterns)
		}
	}
}

func FuzzPatterns(f *testing.F) {
	f.Add("a/*/**/{b,c/d}", "x/y")
	f.Add(`\*/[a-]`, "!..")
	f.Fuzz(func(t *testing.T, include, exclude string) {
		patterns := []string{include, "!" + exclude}
		if _, err := artifact.ParsePatterns(patterns); err != nil {
			return
		}
		dir := workspace(t, entry{path: "a/b/c"}, entry{path: "x"}, entry{path: "up", link: "../.."})
		files, _, err := collect(t, dir, patterns, artifact.Limits{}, 0)
		for _, file := range files {
			if err != nil || !slices.Contains([]string{"all/a/b/c", "all/x"}, file) {
				t.Errorf("%q: %v, collected %v", patterns, err, files)
			}
		}
	})
}

// The folder that artifacts go to is often in the workspace: --artifacts out. What is copied there is
// not found again.
func TestArtifactsInTheWorkspaceAreNotCollectedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		into     string // in the workspace
		sub      string
		patterns []string
	}{
		"all":                       {"out", "", []string{"."}},
		"a pattern":                 {"out", "", []string{"**/*.log"}},
		"a folder above":            {"a/out", "", []string{"a", "x.log"}},
		"the workspace itself":      {".", "", []string{"**/*.log"}},
		"a run of a matrix":         {"out", "V=1", []string{"**"}},
		"the folder, under a name":  {"out", "", []string{"out/**", "x.log", "a"}},
		"a pattern for its content": {"out", "", []string{"{out,a}/**/*.log", "x.log"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := workspace(t, entry{path: "x.log", content: "x"}, entry{path: "a/y.log", content: "y"})
			place, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
			must(t, err)
			defer place.Close()
			folder, err := artifact.Open(filepath.Join(dir, test.into), 0o755, 0)
			must(t, err)
			defer folder.Close()
			if test.sub != "" {
				folder, err = folder.Sub(test.sub)
				must(t, err)
				defer folder.Close()
			}
			parsed, err := artifact.ParsePatterns(test.patterns)
			must(t, err)
			for _, name := range []string{"first", "second"} {
				got, err := folder.Collect(t.Context(), place, name, parsed, artifact.Limits{})
				if err != nil || got.Files < 2 {
					t.Fatalf("%s: %+v: %v", name, got, err)
				}
				isNamed := test.into == "." || strings.Contains(test.patterns[0], "out")
				if got.Files != 2 && !(isNamed && name == "second" && got.Files == 4) {
					t.Errorf("%s has %d files, want 2", name, got.Files)
				}
			}
		})
	}
}
