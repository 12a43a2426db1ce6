package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// environ reads settings from environment variables and collects the errors.
type environ struct {
	failed []error
	asked  map[string]string   // variables that have been read, each with the name of the variable that it stands for
	older  map[string][]string // names that variables had in earlier versions of the server's own runner
}

// ask returns a variable's value, and notes that it has an effect.
func (e *environ) ask(name string) string {
	if e.asked == nil {
		e.asked = map[string]string{}
	}
	e.asked[name] = name
	return os.Getenv(name)
}

func (e *environ) err() error { return errors.Join(e.failed...) }

func (e *environ) fail(name, value, want string) {
	e.failed = append(e.failed, fmt.Errorf("$%s: %q is not %s", name, value, want))
}

// text returns the value of the first of the variables that is set, under its older names if need be.
func (e *environ) text(names ...string) string {
	first := ""
	for _, name := range slices.Concat(names, e.older[names[0]]) {
		first = cmp.Or(first, e.ask(name))
		e.asked[name] = names[0]
	}
	return first
}

// secret returns the content of the file that NAME_FILE names, or the value of NAME.
func (e *environ) secret(name string) string {
	file, value := e.ask(name+"_FILE"), e.text(name)
	if file == "" {
		return strings.TrimSpace(value)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		e.failed = append(e.failed, fmt.Errorf("$%s_FILE: %w", name, err))
	}
	return strings.TrimSpace(string(data))
}

func (e *environ) flag(name string, otherwise bool) bool {
	text := e.text(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		e.fail(name, text, "true or false")
	}
	return value
}

func (e *environ) number(otherwise int64, names ...string) int64 {
	text := e.text(names...)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		e.fail(names[0], text, "a whole number from 0")
	}
	return value
}

// count is number of something of which there must be one at least.
func (e *environ) count(otherwise int64, names ...string) int {
	value := e.number(otherwise, names...)
	if value == 0 {
		e.fail(names[0], "0", "1 or more")
	}
	return int(value)
}

func (e *environ) duration(name string) time.Duration {
	text := e.text(name)
	if text == "" {
		return 0
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		e.fail(name, text, "a duration such as 30s or 2m")
	}
	return value
}

// list returns the comma-separated parts of the first of the variables that is set.
func (e *environ) list(names ...string) []string {
	var items []string
	for item := range strings.SplitSeq(e.text(names...), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// pairs returns the NAME=VALUE pairs of a list.
func (e *environ) pairs(names ...string) map[string]string {
	pairs := map[string]string{}
	for _, item := range e.list(names...) {
		name, value, found := strings.Cut(item, "=")
		if !found || name == "" || value == "" {
			e.fail(names[0], item, "NAME=VALUE")
			continue
		}
		pairs[name] = value
	}
	return pairs
}
