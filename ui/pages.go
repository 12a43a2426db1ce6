package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/stepexec/stepexec/report"
)

// html has the templates, the style and the scripts that a report does not have.
//
//go:embed html
var html embed.FS

// pages are the templates of the pages, and the files that pages load.
type pages struct {
	templates map[string]*template.Template
	files     map[string]file // by name
}

// file is a file that pages load.
type file struct {
	kind    string // its media type
	content []byte
	sum     string // beginning of its digest
}

// frame is what all pages show.
type frame struct {
	Title  string
	Base   string // path of the first page, with a slash at its end
	Page   string // name of the page's template
	Script string // name of the page's script
	Files  map[string]string
	Search string // what the search of the page looks through; "": it has none
	Events string // path of the stream of changes; "": the page does not change
	Error  string // what could not be read
}

func newPages() (*pages, error) {
	p := &pages{templates: map[string]*template.Template{}, files: map[string]file{}}
	for _, name := range []string{"runs", "run", "pipelines", "storage", "artifact", "problem"} {
		t, err := report.Templates()
		if err == nil {
			t, err = t.ParseFS(html, "html/frame.html", "html/"+name+".page.html")
		}
		if err != nil {
			return nil, fmt.Errorf("make the pages: %w", err)
		}
		p.templates[name] = t
	}
	p.add("icon.svg", "image/svg+xml", text("icon.svg"))
	p.add("style.css", "text/css", report.StyleSheet(), text("ui.css"))
	p.add("list.js", "text/javascript", report.Script(), text("live.js", "list.js"))
	p.add("run.js", "text/javascript", report.RunScript(text("served.js")), text("live.js", "follow.js"))
	return p, nil
}

func text(names ...string) string { return report.Parts(html, names...) }

func (p *pages) add(name, kind string, parts ...string) {
	content := []byte(strings.Join(parts, ""))
	sum := sha256.Sum256(content)
	p.files[name] = file{kind + "; charset=utf-8", content, hex.EncodeToString(sum[:8])}
}

// write writes a page. It is made as a whole first: an error must not leave half a page.
func (s *Server) write(w http.ResponseWriter, status int, f frame, data any) {
	f.Base = s.base
	f.Files = map[string]string{}
	for name, file := range s.pages.files {
		f.Files[name] = s.base + "files/" + name + "?" + file.sum
	}
	var page bytes.Buffer
	err := s.pages.templates[f.Page].ExecuteTemplate(&page, "frame", struct {
		frame
		Data any
	}{f, data})
	if err != nil {
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the browser may have gone
}

// problem writes a page that says why there is no other one.
func (s *Server) problem(w http.ResponseWriter, status int, title, text string) {
	s.write(w, status, frame{Title: title, Page: "problem", Script: "list.js"}, text)
}

// serveFile serves a file that pages load.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	f, ok := s.pages.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "private, max-age=86400, immutable") // its address has its digest
	_, _ = w.Write(f.content)                                            // the browser may have gone
}
