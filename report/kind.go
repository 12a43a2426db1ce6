package report

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Kind is the format of a report.
type Kind string

// The kinds of reports.
const (
	KindHTML     Kind = "html"
	KindJSON     Kind = "json"
	KindJUnit    Kind = "junit"
	KindMarkdown Kind = "markdown"
)

// Kinds are all kinds of reports.
func Kinds() []string {
	return []string{string(KindHTML), string(KindJSON), string(KindJUnit), string(KindMarkdown)}
}

var endings = map[string]Kind{".html": KindHTML, ".htm": KindHTML, ".json": KindJSON, ".xml": KindJUnit, ".md": KindMarkdown, ".markdown": KindMarkdown}

// ParseKind returns the kind with a name.
func ParseKind(name string) (Kind, error) {
	for _, kind := range Kinds() {
		if name == kind {
			return Kind(kind), nil
		}
	}
	return "", fmt.Errorf("unknown kind of report %q (use one of %s)", name, strings.Join(Kinds(), ", "))
}

// KindOf returns the kind for a file, by the ending of its name.
func KindOf(file string) (Kind, error) {
	if kind, ok := endings[strings.ToLower(filepath.Ext(file))]; ok {
		return kind, nil
	}
	return "", fmt.Errorf("the file name does not tell the kind of report (use a name that ends in .html, .json, .xml for JUnit, or .md, or write KIND=%s)", file)
}

// Write writes a report of a kind.
func Write(w io.Writer, kind Kind, r *Report) error {
	switch kind {
	case KindHTML:
		return WriteHTML(w, r)
	case KindJSON:
		return WriteJSON(w, r)
	case KindJUnit:
		return WriteJUnit(w, r)
	case KindMarkdown:
		return WriteMarkdown(w, r)
	}
	_, err := ParseKind(string(kind))
	return err
}
