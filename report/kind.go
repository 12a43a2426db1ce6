package report

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Kind is a form of a report.
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

// ParseKind is the kind of a name.
func ParseKind(name string) (Kind, error) {
	for _, kind := range Kinds() {
		if name == kind {
			return Kind(kind), nil
		}
	}
	return "", fmt.Errorf("there is no report of kind %q (there are %s)", name, strings.Join(Kinds(), ", "))
}

// KindOf is the kind of a file by its ending.
func KindOf(file string) (Kind, error) {
	if kind, ok := endings[strings.ToLower(filepath.Ext(file))]; ok {
		return kind, nil
	}
	return "", fmt.Errorf("the name of the file does not say what kind of report it is: end it in .html, .json, .xml (JUnit) or .md, or write KIND=%s", file)
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
