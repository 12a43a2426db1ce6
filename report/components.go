package report

import (
	"embed"
	"html/template"
	"strings"
)

// html has the parts of the page.
//
//go:embed html
var html embed.FS

// Templates returns the templates that the page of a report is made of, for other pages of runs: "run" shows
// a PageRun, and "chart" a Chart.
func Templates() (*template.Template, error) { return template.ParseFS(html, "html/run.html") }

// StyleSheet is the style sheet of all pages.
func StyleSheet() string { return parts("page.css") }

// Script is the beginning of the script of every page: themes, times and sizes. The page has a button with
// the id theme.
func Script() string { return parts("page.js") }

// RunScript is the script of a page that shows the template "run" of runs. logs is the part of it that reads
// logs: it defines logOf, which returns the pieces of a log and a function that reads one.
func RunScript(logs string) string {
	return Script() + parts("timeline.js", "usage.js", "lines.js") + logs + parts("logs.js", "search.js", "begin.js")
}

// parts returns the concatenated files of the page.
func parts(names ...string) string { return Parts(html, names...) }

// Parts returns files of the folder html of embedded files, one after the other. That one is missing
// is a mistake of the program, which every test of a page finds: it panics.
func Parts(files embed.FS, names ...string) string {
	var all strings.Builder
	for _, name := range names {
		data, err := files.ReadFile("html/" + name)
		if err != nil {
			panic(err)
		}
		all.Write(data)
	}
	return all.String()
}
