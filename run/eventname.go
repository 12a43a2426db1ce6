package run

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// eventNames are the words of Woodpecker and Drone.
func eventNames() []string {
	return []string{
		"push", "pull_request", "pull_request_closed", "pull_request_metadata", "tag", "release", "cron", "manual",
		"deployment", "promote", "rollback", "custom",
	}
}

// checkEvent reports a flag with an event that neither a CI server has nor a condition names: the
// steps of the event that was meant would be left out without a word.
func (f *FactSource) checkEvent(named func(event string) bool) error {
	event := f.Given.Event
	if event == "" || slices.Contains(eventNames(), event) || named(event) {
		return nil
	}
	hint := "the known ones are " + strings.Join(eventNames(), ", ") + ", and those that conditions of the file name"
	if here := githubEvents[event]; here != "" {
		hint = "GitHub's " + event + " is called " + here + " here"
	} else if guess := pipeline.DidYouMean(event, eventNames()); guess != "" {
		hint = guess
	}
	return fmt.Errorf("--event %s: unknown event (%s)", event, hint)
}

// namesEvent reports whether a condition of the pipeline is about an event of the name.
func namesEvent(p *pipeline.Pipeline, event string) bool {
	for _, s := range slices.Concat(p.Services, p.Steps) {
		for _, c := range s.When {
			if slices.Contains(c.Event.Include, event) || slices.Contains(c.Event.Exclude, event) || isQuoted(c.Evaluate, event) {
				return true
			}
		}
	}
	return false
}

// fileNamesEvent is namesEvent for a file of another CI system, or a folder of them.
func fileNamesEvent(path, event string) bool {
	files := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		inFolder, _ := filepath.Glob(filepath.Join(path, "*.y*ml"))
		files = inFolder
	}
	return slices.ContainsFunc(files, func(file string) bool {
		data, err := pipeline.ReadFile(file)
		if err != nil {
			return false // which is said when the file is read
		}
		_, documents := pipeline.ReadSource(file, data)
		return slices.ContainsFunc(documents, func(n pipeline.Node) bool { return nodeNamesEvent(n, "", event) })
	})
}

// nodeNamesEvent looks for an event in the values of the keys that conditions have it in.
func nodeNamesEvent(n pipeline.Node, key, event string) bool {
	if key == "event" && n.Raw() == event || key == "evaluate" && isQuoted(n.Raw(), event) {
		return true
	}
	for _, item := range n.Items() {
		if nodeNamesEvent(item, key, event) {
			return true
		}
	}
	for _, e := range n.Entries() {
		below := e.Name
		if key == "event" {
			below = key // of include and exclude
		}
		if nodeNamesEvent(e.Node, below, event) {
			return true
		}
	}
	return false
}

// isQuoted reports whether an expression has a string of the text.
func isQuoted(expression, text string) bool {
	return slices.ContainsFunc([]string{`"`, "'", "`"}, func(quote string) bool { return strings.Contains(expression, quote+text+quote) })
}
