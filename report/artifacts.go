package report

import (
	"fmt"
	"strings"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/event"
)

// artifactLine says what was collected, and where it is.
func artifactLine(a *event.Artifact) string {
	files := "files"
	if a.Files == 1 {
		files = "file"
	}
	return fmt.Sprintf("%s: %d %s, %s, in %s", a.Name, a.Files, files, units.HumanSize(float64(a.Bytes)), a.Folder)
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
