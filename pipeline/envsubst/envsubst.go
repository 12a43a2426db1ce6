// Package envsubst puts the variables of a build into the text of a pipeline file, as Drone and
// Woodpecker do before they read it.
package envsubst

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/drone/envsubst"

	"github.com/stepexec/stepexec/pipeline"
)

// Unset are the variables of a text that have no value, so that ${NAME} is replaced by nothing:
// each with the line, counted from 1, where it is used first without a default.
func Unset(text string, values map[string]string) map[string]int {
	unset := map[string]int{}
	for i, line := range strings.Split(Protect(text), "\n") {
		for _, found := range plain().FindAllStringSubmatch(line, -1) {
			if _, given := values[found[1]]; !given && unset[found[1]] == 0 {
				unset[found[1]] = i + 1
			}
		}
	}
	return unset
}

// plain is a variable without a default.
var plain = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?:\}|[^A-Za-z0-9_}=:-]|:[^=-])`)
})

// Substitute replaces ${NAME} by its value everywhere in the text of a file, comments
// included. It works line by line, so that positions stay right. Drone puts a value of several
// lines in quotes, and so does Substitute. The error is a [pipeline.Errors].
func Substitute(file, text string, values map[string]string) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	s := substitution{get: func(name string) string {
		value := values[name]
		if strings.ContainsAny(value, "\n\r") {
			return strconv.Quote(value)
		}
		return value
	}}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if !strings.Contains(line, "$") {
			continue
		}
		done, err := s.line(line)
		if err != nil {
			return "", pipeline.Errors{{File: file, Line: i + 1, Column: max(strings.Index(line, "${"), 0) + 1,
				Message: "substitute ${…}: " + err.Error(), Hint: "write $${…} for what the shell is to see"}}
		}
		lines[i] = done
	}
	return strings.Join(lines, ""), nil
}

// substitution is one file's: its lines share a budget.
type substitution struct {
	get   func(name string) string
	spent cost
}

// line replaces the variables of one line.
func (s *substitution) line(line string) (done string, err error) {
	if err := s.afford(line); err != nil {
		return "", err
	}
	defer func() { // the library panics on a negative length, as in ${NAME:0:-1}
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	done, err = envsubst.Eval(line, s.get)
	if err != nil {
		return "", errors.New(strings.TrimSpace(err.Error()))
	}
	return done, nil
}

// Unescape undoes the escape $$ and leaves variables alone.
func Unescape(text string) string { return strings.ReplaceAll(text, "$$", "$") }

// escaped stands for a $ that a file has as $$, so that what follows it is no variable. It is
// of Unicode's private use, which no file of a CI system has a reason for.
const escaped = "\uE024"

// Protect turns each $$ of a file into a mark, for a reader that looks for variables later.
func Protect(text string) string { return strings.ReplaceAll(text, "$$", escaped) }

// Escape turns the marks of Protect into $$ again.
func Escape(text string) string { return strings.ReplaceAll(text, escaped, "$$") }

// Restore turns the marks of Protect into $.
func Restore(text string) string { return strings.ReplaceAll(text, escaped, "$") }
