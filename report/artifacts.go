package report

import (
	"fmt"
	"strings"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// artifactLine says what was collected, and where it is.
func artifactLine(a *event.Artifact) string {
	files := "files"
	if a.Files == 1 {
		files = "file"
	}
	return fmt.Sprintf("%s: %d %s, %s, in %s", a.Name, a.Files, files, units.HumanSize(float64(a.Bytes)), a.Folder)
}

// cacheList has a line for each keyed cache; "": there is none.
func cacheList(steps []event.StepResult) string {
	var b strings.Builder
	for i := range steps {
		for _, c := range steps[i].Caches {
			fmt.Fprintf(&b, "cache %s of %s: ", c.Name, logs.Quote(steps[i].Step))
			if c.Restored == "nothing" {
				b.WriteString("nothing was saved under its key")
			} else {
				fmt.Fprintf(&b, "restored by the %s, %d files, %s", c.Restored, c.Files, units.HumanSize(float64(c.Bytes)))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// artifactList has a line for each artifact; "": there is none.
func artifactList(steps []event.StepResult) string {
	var b strings.Builder
	for i := range steps {
		for j := range steps[i].Artifacts {
			b.WriteString("artifact " + artifactLine(&steps[i].Artifacts[j]) + "\n")
		}
	}
	return b.String()
}
