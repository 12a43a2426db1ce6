package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
)

// architectures are the names that images have for what Linux runs on.
func architectures() []string {
	return []string{
		"amd64", "arm64", "arm", "386", "ppc64le", "ppc64", "s390x", "riscv64", "loong64",
		"mips", "mipsle", "mips64", "mips64le",
	}
}

// otherArchitectures are the kernel's names, as uname -m prints them.
func otherArchitectures() map[string]string {
	return map[string]string{
		"x86_64": "amd64", "x86": "386", "i386": "386", "i686": "386", "aarch64": "arm64", "armhf": "arm/v7",
		"armv6l": "arm/v6", "armv7l": "arm/v7", "armv7": "arm/v7", "powerpc64le": "ppc64le", "loongarch64": "loong64",
	}
}

// platform checks that an image of the step's platform can exist and run here.
func (c *referenceCheck) platform() {
	name := c.step.Platform
	if name == "" || strings.Contains(name, "$") {
		return
	}
	system, rest, _ := strings.Cut(name, "/")
	if system != "linux" {
		c.fail("platform", fmt.Sprintf("%q: steps run on Linux only", name), "write it like linux/amd64")
		return
	}
	architecture, _, _ := strings.Cut(rest, "/")
	if architecture == "" || slices.Contains(architectures(), architecture) {
		return
	}
	hint := "the known ones are " + strings.Join(architectures(), ", ")
	if here := otherArchitectures()[architecture]; here != "" {
		hint = fmt.Sprintf("images call it %q", "linux/"+here)
	} else if guess := pipeline.DidYouMean(architecture, architectures()); guess != "" {
		hint = guess
	}
	c.fail("platform", fmt.Sprintf("%q: unknown architecture %q", name, architecture), hint)
}

// events looks for events in conditions that no CI server sends. They are suspicious only, because
// the flag --event takes whatever a condition names.
func (c *referenceCheck) events() {
	for _, condition := range c.step.When {
		for _, event := range slices.Concat(condition.Event.Include, condition.Event.Exclude) {
			if slices.Contains(eventNames(), event) || strings.ContainsAny(event, "*?[{$") {
				continue
			}
			hint := ""
			if here := githubEvents[event]; here != "" {
				hint = "GitHub's " + event + " is called " + here + " here"
			} else if hint = pipeline.DidYouMean(event, eventNames()); hint == "" {
				hint = "the known ones are " + strings.Join(eventNames(), ", ")
			}
			c.suspect("when", fmt.Sprintf("unknown event %q: only --event %[1]s sets it", event), hint)
		}
	}
}

// localImage looks for an image that is a file or a folder. A missing one is suspicious only, because
// an earlier step may make it.
func (c *referenceCheck) localImage(image pull.Reference) {
	if image.Path == "" {
		return
	}
	path := c.path(image.Path)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		c.suspect("image", fmt.Sprintf("%s does not exist", path), "this is fine if an earlier step makes it")
	}
}
