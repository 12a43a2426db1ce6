package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// unused are the variables with the prefix that are set and that nobody has asked for.
func (e *environ) unused(prefix string) []string {
	var names []string
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && value != "" && !e.asked[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// warnUnused says which settings of the server's own runner have no effect here: an
// administrator would count on them.
func (e *environ) warnUnused(say func(string), prefix, doc string) {
	for _, name := range e.unused(prefix) {
		say(fmt.Sprintf("warning: $%s has no effect with stepexec (%s has the variables that it knows)", name, doc))
	}
}
