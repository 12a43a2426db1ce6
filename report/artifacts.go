package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// artifactLine says what was collected, and where it is.
func artifactLine(a *event.Artifact) string {
	return fmt.Sprintf("%s: %s, %s, in %s", a.Name, plural(a.Files, "file"), size(a.Bytes), a.Folder)
}

// cacheLine says what a step got of a keyed cache.
func cacheLine(c *event.CacheUse) string {
	if c.Restored == "nothing" {
		return "nothing was saved under its key"
	}
	return fmt.Sprintf("restored by the %s, %s, %s", c.Restored, plural(c.Files, "file"), size(c.Bytes))
}

func size(bytes int64) string { return units.HumanSize(float64(bytes)) }

// cacheList has a line for each keyed cache; "": there is none.
func cacheList(steps []event.StepResult) string {
	var b strings.Builder
	for i := range steps {
		for _, c := range steps[i].Caches {
			fmt.Fprintf(&b, "cache %s of %s: %s\n", c.Name, logs.Quote(steps[i].Step), cacheLine(&c))
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

// pageArtifact and pageCache are rows of a page's tables, pageSigned is an image whose signature was
// asked for.
type (
	pageArtifact struct {
		Step, Name, Files, Size, Folder string
		Link                            string // where the files are to be had; "": nowhere
	}
	pageCache  struct{ Step, Name, Words string }
	pageSigned struct{ Image, Digest, Key string }
)

// addFiles adds the artifacts and the keyed caches of a step.
func (p *PageRun) addFiles(s *StepReport) {
	for _, a := range s.Artifacts {
		p.Artifacts = append(p.Artifacts, pageArtifact{Step: plain(s.Step), Name: plain(a.Name), Files: fmt.Sprint(a.Files), Size: size(a.Bytes), Folder: plain(a.Folder)})
	}
	for _, c := range s.Caches {
		p.Caches = append(p.Caches, pageCache{plain(s.Step), plain(c.Name), plain(cacheLine(&c))})
	}
}

// signed lists the images of a run that a key has signed, each once.
func signed(images []Image) (rows []pageSigned) {
	for _, image := range images {
		row := pageSigned{plain(image.Name), plain(image.Digest), plain(image.SignedBy)}
		if image.SignedBy != "" && !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
	}
	return rows
}
