package main

import (
	"io"
	"strings"

	"github.com/stepexec/stepexec/report"
)

// reportFile is the destination of a report.
type reportFile struct {
	*outputFile
	kind report.Kind
	name string // name as the user gave it
}

// openReport prepares to write a report to a file, [KIND=]FILE.
func openReport(text string) (f *reportFile, err error) {
	f = &reportFile{name: text}
	if kind, name, found := strings.Cut(text, "="); found && !strings.ContainsAny(kind, "/.") {
		if f.kind, err = report.ParseKind(kind); err != nil {
			return nil, err
		}
		f.name = name
	} else if f.kind, err = report.KindOf(text); err != nil {
		return nil, err
	}
	f.outputFile, err = openOutput(f.name)
	return f, err
}

// write writes the report completely or not at all.
func (f *reportFile) write(r *report.Report) error {
	return f.outputFile.write(func(to io.Writer) error { return report.Write(to, f.kind, r) })
}
