package report

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// onePage is the data of the template of a page that is one file.
type onePage struct {
	Page
	Policy string
	Style  template.CSS
	Script template.JS
}

// WriteHTML writes a report as one HTML page that loads nothing from anywhere. Its content
// security policy allows only its own script: names and output of steps are always text.
//
// Logs come last, still compressed, in blocks that the browser does not parse. The page's
// script unpacks the pieces that a reader looks at.
func WriteHTML(w io.Writer, r *Report) error {
	page, err := template.ParseFS(html, "html/page.html", "html/run.html")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	style, script := StyleSheet(), RunScript(parts("blocks.js"))
	p := onePage{Page: PageOf(r), Style: template.CSS(style), Script: template.JS(script)}
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

// hashOf returns a hash source of a content security policy (CSP 3, section 2.3.1).
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// writeLog writes a log as a block of data: the pieces in base64, and in data-p the number of
// lines of each, which is negative for missing ones.
func writeLog(w io.Writer, index int, l *Log) error {
	if _, err := fmt.Fprintf(w, `<script type="text/plain" id="z-%d" data-p="%s">`, index, strings.Trim(fmt.Sprint(l.Pieces()), "[]")); err != nil {
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
