// Package envsubst puts the variables of a build into the text of a pipeline file, as Drone and
// Woodpecker do before they read it.
package envsubst

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/drone/envsubst"

	"github.com/stepexec/stepexec/pipeline"
)

// Substitute puts values in the places of ${NAME} in the text of a file, comments
// included. It goes line by line, as positions do. A value of several lines becomes one
// in quotes, as Drone has it.
func Substitute(file, text string, values map[string]string) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	get := func(name string) string {
		value := values[name]
		if strings.ContainsAny(value, "\n\r") {
			return strconv.Quote(value)
		}
		return value
	}
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if !strings.Contains(line, "$") {
			continue
		}
		done, err := eval(line, get)
		if err != nil {
			return "", pipeline.Errors{{File: file, Line: i + 1, Column: strings.Index(line, "${") + 1,
				Message: "substitute ${…}: " + err.Error(), Hint: "write $${…} for what the shell is to see"}}
		}
		lines[i] = done
	}
	return strings.Join(lines, ""), nil
}

// eval is envsubst.Eval where that panics, too: ${NAME:0:-1} takes it out of its bounds.
func eval(line string, get func(string) string) (done string, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	done, err = envsubst.Eval(line, get)
	if err != nil {
		return "", errors.New(strings.TrimSpace(err.Error()))
	}
	return done, nil
}

// Unescape takes the escapes away alone.
func Unescape(text string) string { return strings.ReplaceAll(text, "$$", "$") }
