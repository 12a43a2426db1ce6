package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// html has the parts of the page.
//
//go:embed html
var html embed.FS

// scripts are the parts of the page's script, in order.
var scripts = []string{"page.js", "timeline.js", "usage.js", "lines.js", "logs.js", "search.js", "begin.js"}

// WriteHTML writes a report as one HTML page that loads nothing from anywhere. Its content
// security policy allows only its own script: names and output of steps are always text.
//
// Logs come last, still compressed, in blocks that the browser does not parse. The page's
// script unpacks the pieces that a reader looks at.
func WriteHTML(w io.Writer, r *Report) error {
	page, err := template.ParseFS(html, "html/page.html")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	style, err := parts("page.css")
	if err != nil {
		return err
	}
	script, err := parts(scripts...)
	if err != nil {
		return err
	}
	p := pageOf(r)
	p.Style, p.Script = template.CSS(style), template.JS(script)
	p.Policy = fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; base-uri 'none'; form-action 'none'", hashOf(script), hashOf(style))
	if err := page.Execute(w, p); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	index := 0
	for _, run := range r.Runs {
		for _, s := range run.Steps {
			if err := writeLog(w, index, s.Log); err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			index++
		}
	}
	_, err = io.WriteString(w, "</body>\n</html>\n")
	return err
}

// parts returns the concatenated files of the page.
func parts(names ...string) (string, error) {
	var all strings.Builder
	for _, name := range names {
		data, err := html.ReadFile("html/" + name)
		if err != nil {
			return "", fmt.Errorf("write the report: %w", err)
		}
		all.Write(data)
	}
	return all.String(), nil
}

// hashOf returns a hash source of a content security policy (CSP 3, section 2.3.1).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// writeLog writes a log as a block of data: the pieces in base64, and in data-p the number of
// lines of each, which is negative for missing ones.
func writeLog(w io.Writer, index int, l *Log) error {
	var lines []string
	for _, p := range l.pieces {
		n := p.lines
		if p.data == nil {
			n = -n
		}
		lines = append(lines, fmt.Sprint(n))
	}
	if _, err := fmt.Fprintf(w, `<script type="text/plain" id="z-%d" data-p="%s">`, index, strings.Join(lines, " ")); err != nil {
		return err
	}
	for _, p := range l.pieces {
		encoder := base64.NewEncoder(base64.StdEncoding, w)
		if _, err := encoder.Write(p.data); err != nil {
			return err
		}
		if err := encoder.Close(); err != nil {
			return err
		}
		if _, err := io.WriteString(w, " "); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "</script>\n")
	return err
}
