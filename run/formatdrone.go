package run

import (
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/drone"
)

var (
	droneName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\.?drone(\.[^/]*)?\.ya?ml$`) })
	droneKind = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^kind:[ \t]*["']?(pipeline|template)["']?[ \t]*(#.*)?\r?$`)
	})
	droneLegacy = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^pipeline:[ \t]*(#.*)?\r?$`) })
	topSteps    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^steps:`) })
)

// droneFormat is that of .drone.yml.
func droneFormat() format {
	return format{
		name:  "drone",
		files: []string{".drone.yml", ".drone.yaml"},
		event: "push",
		named: func(path string, isFolder bool) bool {
			return !isFolder && droneName().MatchString(filepath.Base(path))
		},
		holds: func(content []byte) bool {
			return droneKind().Match(content) || droneLegacy().Match(content) && !topSteps().Match(content)
		},
		root: filepath.Dir,
		load: func(path string, in formatInputs) (*pipeline.Set, error) {
			params := map[string]string{}
			for _, entry := range in.environ {
				name, value, _ := strings.Cut(entry, "=")
				params[name] = value
			}
			return drone.Load(path, drone.Options{
				PrivilegedImages: append(drone.DefaultPrivileged(), in.plugins...), AsDocker: in.docker,
				Build: in.build, Params: params, Raw: in.raw, Network: in.network,
			})
		},
	}
}
