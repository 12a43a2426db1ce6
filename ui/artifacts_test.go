package ui_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/ui"
)

// withArtifact keeps a run with the artifact dist, and returns the folder that has its files.
func withArtifact(t *testing.T, root string) (folder string) {
	t.Helper()
	place, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	folder = filepath.Join(place, "out", "dist")
	must(t, os.MkdirAll(filepath.Join(folder, "sub"), 0o755))
	for name, content := range map[string]string{"page.html": "<script>alert(1)</script>", "sub/data": "data", "sub/odd \"\u202e\n.txt": "odd"} {
		must(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644))
	}
	r, events := ended("run1", event.Succeeded, time.Second)
	for _, e := range events {
		if e.Result != nil {
			e.Result.Artifacts = []event.Artifact{{Name: "dist", Folder: folder, Files: 3, Bytes: 32}}
		}
	}
	r.Summary.Steps[0].Artifacts = []event.Artifact{{Name: "dist", Folder: folder, Files: 3, Bytes: 32}}
	keep(t, root, r, events...)
	return folder
}

func TestArtifactsAreSavedAndNeverShown(t *testing.T) {
	root := t.TempDir()
	withArtifact(t, root)
	s := serve(t, ui.Options{Root: root})
	if page := s.page("runs/run1"); !strings.Contains(page, `/runs/run1/artifacts/dist">dist</a>`) {
		t.Error("the page of the run does not lead to its artifact")
	}
	page := s.page("runs/run1/artifacts/dist")
	for _, want := range []string{">page.html</a>", "file?path=sub%2Fdata", `/artifacts/dist/all"`, "Of step build"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of the artifact has no %s:\n%s", want, page)
		}
	}
	for path, want := range map[string]struct{ content, name string }{
		"page.html":                {"<script>alert(1)</script>", "page.html"},
		"sub/data":                 {"data", "data"},
		"sub/odd \"\u202e\n.txt":   {"odd", "odd%20%22%E2%80%AE%0A.txt"},
		"sub/../sub/./data":        {"data", "data"},
		"sub/../sub//../page.html": {"<script>alert(1)</script>", "page.html"},
	} {
		status, body, header := s.get("runs/run1/artifacts/dist/file?" + url.Values{"path": {path}}.Encode())
		if status != http.StatusOK || body != want.content {
			t.Errorf("%q: %d %q", path, status, body)
		}
		if got := header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment; filename") || !strings.Contains(got, want.name) {
			t.Errorf("%q: %s", path, got)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%q: %s is %q", path, name, got)
			}
		}
	}
	_, body, header := s.get("runs/run1/artifacts/dist/all")
	if got := header.Get("Content-Disposition"); got != "attachment; filename=dist.tar" {
		t.Errorf("the tar: %s", got)
	}
	if diff := cmp.Diff(map[string]string{"dist/page.html": "<script>alert(1)</script>", "dist/sub/data": "data", "dist/sub/odd \"\u202e\n.txt": "odd"}, untar(t, body)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func untar(t *testing.T, archive string) map[string]string {
	t.Helper()
	files := map[string]string{}
	r := tar.NewReader(strings.NewReader(archive))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		files[header.Name] = string(content)
	}
}

func TestAnArtifactOfManyFilesListsTheFirst(t *testing.T) {
	root := t.TempDir()
	folder := withArtifact(t, root)
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("f%04d", (i*7)%3000)), nil, 0o644))
	}
	page := serve(t, ui.Options{Root: root}).page("runs/run1/artifacts/dist")
	for _, want := range []string{">f0000</a>", ">f0999</a>", "And 2003 more, which are in the tar."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(page, ">f1000</a>") {
		t.Error("the page lists more than the first 1000")
	}
}

func TestNoArtifactLeadsOut(t *testing.T) {
	root := t.TempDir()
	folder := withArtifact(t, root)
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("not yours"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(folder, "absolute")))
	must(t, os.Symlink("../../../../../../../../../../../../../"+outside, filepath.Join(folder, "relative")))
	must(t, os.Symlink("page.html", filepath.Join(folder, "inside")))
	must(t, os.Symlink("/", filepath.Join(folder, "top")))
	must(t, unix.Mkfifo(filepath.Join(folder, "fifo"), 0o600))
	s := serve(t, ui.Options{Root: root})
	for _, path := range []string{"", ".", "..", "sub", "none", "/etc/passwd", outside, "../../../../../../../../etc/passwd", "absolute", "relative", "inside", "top/etc/passwd", "fifo", "page.html/x", "page.html\x00"} {
		if status, body, _ := s.get("runs/run1/artifacts/dist/file?" + url.Values{"path": {path}}.Encode()); status != http.StatusNotFound {
			t.Errorf("%q: %d %q", path, status, body)
		}
	}
	for _, path := range []string{"none", "..%2f..", "%2e%2e", "dist%2f..", "dist%2fsub", "%2fetc"} {
		if status, body, _ := s.get("runs/run1/artifacts/" + path + "/all"); status != http.StatusNotFound {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	_, body, _ := s.get("runs/run1/artifacts/dist/all")
	if files := untar(t, body); len(files) != 3 {
		t.Errorf("the tar has %d files, not 3", len(files))
	}
	// A step whose workspace the folder is in can put a link in its place.
	parent := filepath.Dir(folder)
	must(t, os.Rename(parent, parent+".old"))
	must(t, os.MkdirAll(filepath.Join(filepath.Dir(outside), "dist"), 0o755))
	must(t, os.Symlink(filepath.Dir(outside), parent))
	for _, path := range []string{"", "/all", "/file?path=outside"} {
		if status, body, _ := s.get("runs/run1/artifacts/dist" + path); status != http.StatusNotFound || !strings.Contains(body, "has become a link") {
			t.Errorf("%q, through a link: %d %q", path, status, body)
		}
	}
}
