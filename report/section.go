package report

import (
	"strings"
)

// Mark is what a line says about the sections of an output.
type Mark int

// The marks of a line.
const (
	NoMark       Mark = iota
	SectionBegin      // a section begins, with a title
	SectionEnd        // the section ends
)

// SectionMark tells whether a line begins or ends a section that a reader may fold. Tools write such lines for
// the logs of CI servers:
//
//   - ::group::TITLE and ::endgroup:: for GitHub's runner;
//   - section_start:TIME:NAME[OPTIONS] and section_end:TIME:NAME for GitLab's, with "\r" and the order that
//     erases the line in front of the title.
func SectionMark(line string) (mark Mark, title string) {
	text := strings.TrimPrefix(line, eraseLine)
	if text == "" || text[0] != ':' && text[0] != 's' { // as most lines
		return NoMark, ""
	}
	switch {
	case strings.HasPrefix(text, "::group::"):
		return SectionBegin, strings.TrimSpace(plain(text[len("::group::"):]))
	case strings.HasPrefix(text, "::endgroup::"):
		return SectionEnd, ""
	case strings.HasPrefix(text, "section_start:"):
		head, title, _ := strings.Cut(text, "\r")
		_, name, _ := strings.Cut(strings.TrimPrefix(head, "section_start:"), ":")
		if title = strings.TrimSpace(plain(title)); title == "" {
			title, _, _ = strings.Cut(name, "[")
		}
		return SectionBegin, plain(title)
	case strings.HasPrefix(text, "section_end:"):
		return SectionEnd, ""
	}
	return NoMark, ""
}

// IsGitLabMark reports whether a line that SectionMark knows is one of GitLab's.
func IsGitLabMark(line string) bool {
	return strings.HasPrefix(strings.TrimPrefix(line, eraseLine), "section_")
}

// eraseLine is the order of a terminal that erases the rest of a line, which stands in front of GitLab's marks.
const eraseLine = "\x1b[0K"
