package run

import (
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/woodpecker"
)

var woodpeckerName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\.?woodpecker(\.[^/]*)?\.ya?ml$`) })

// woodpeckerFormat is that of .woodpecker.yaml and of the folder .woodpecker.
func woodpeckerFormat() format {
	return format{
		name:  "woodpecker",
		files: []string{".woodpecker", ".woodpecker.yaml", ".woodpecker.yml"},
		event: "push",
		named: isWoodpeckers,
		root:  woodpeckerRoot,
		load: func(path string, in formatInputs) (*pipeline.Set, error) {
			params := map[string]string{}
			for _, entry := range in.environ {
				name, value, _ := strings.Cut(entry, "=")
				params[name] = value
			}
			return woodpecker.Load(path, woodpecker.Options{PrivilegedPlugins: in.plugins, Build: in.build, Params: params, Raw: in.raw, Network: in.network})
		},
	}
}

// woodpeckerRoot is the folder that holds the file, or the folder .woodpecker that the file is in.
func woodpeckerRoot(path string) string {
	path = filepath.Clean(path)
	dir := filepath.Dir(path)
	if absolute, err := filepath.Abs(dir); err == nil && isWoodpeckerFolder(absolute) {
		return filepath.Join(dir, "..")
	}
	return dir
}

func isWoodpeckerFolder(path string) bool { return filepath.Base(path) == ".woodpecker" }

func isWoodpeckers(path string, isFolder bool) bool {
	if isFolder {
		return isWoodpeckerFolder(path)
	}
	absolute, err := filepath.Abs(path)
	return woodpeckerName().MatchString(filepath.Base(path)) || err == nil && isWoodpeckerFolder(filepath.Dir(absolute))
}
