package run

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// otherSystem tells whose pipeline file it is that stepexec does not read: "" for none. The name decides
// where it tells, and otherwise the keys at the top. A file with steps at the top is taken for a native one
// unless keys of another system are beside them.
func otherSystem(path string, content []byte) string {
	slashed := filepath.ToSlash(path)
	if abs, err := filepath.Abs(path); err == nil {
		slashed = filepath.ToSlash(abs)
	}
	base := filepath.Base(slashed)
	switch {
	case strings.Contains(slashed, "/.github/workflows/"):
		return "GitHub Actions"
	case base == ".gitlab-ci.yml" || base == ".gitlab-ci.yaml":
		return "GitLab CI"
	case strings.HasSuffix(slashed, "/.circleci/config.yml"):
		return "CircleCI"
	case base == "bitbucket-pipelines.yml":
		return "Bitbucket Pipelines"
	case base == "azure-pipelines.yml" || base == "azure-pipelines.yaml":
		return "Azure Pipelines"
	}
	keys := topKeys(content)
	if system := systemOfName(base); system != "" && !slices.Contains(keys, "steps") {
		return system
	}
	if system := systemOfSteps(content, keys); system != "" {
		return system
	}
	if system := systemOfKeys(keys, content); system != "" || slices.Contains(keys, "steps") {
		return system
	}
	if jobScript().Match(content) {
		return "GitLab CI"
	}
	return ""
}

// jobScript matches the key of a job that GitLab's files have and no other.
var jobScript = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]+(?:before_|after_)?script[ \t]*:`)
})

// systemOfName is the system of a file whose name other systems take as well, if only it has no steps.
func systemOfName(base string) string {
	switch {
	case base == "Jenkinsfile":
		return "Jenkins"
	case base == ".travis.yml":
		return "Travis CI"
	case base == "Dockerfile" || base == "Containerfile":
		return "docker build"
	case base == "Makefile" || base == "makefile" || base == "GNUmakefile":
		return "make"
	case base == "Earthfile":
		return "Earthly"
	case base == "dagger.json":
		return "Dagger"
	case base == "package.json":
		return "npm"
	case base == "devcontainer.json" || base == ".devcontainer.json":
		return "development containers"
	case base == ".cirrus.yml":
		return "Cirrus CI"
	case base == "appveyor.yml" || base == ".appveyor.yml":
		return "AppVeyor"
	case base == "buildspec.yml" || base == "buildspec.yaml":
		return "AWS CodeBuild"
	case strings.EqualFold(base, "Taskfile.yml") || strings.EqualFold(base, "Taskfile.yaml"):
		return "Task"
	case strings.HasPrefix(base, "docker-compose.") || strings.HasPrefix(base, "compose.y"):
		return "docker compose"
	}
	return ""
}

func systemOfKeys(keys []string, content []byte) string {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(keys, name) })
	}
	switch {
	case has("pool") && has("steps", "jobs", "stages"), has("trigger") && has("jobs", "stages", "steps"):
		return "Azure Pipelines"
	case has("steps"):
		return ""
	case has("on") && has("jobs"):
		return "GitHub Actions"
	case has("version") && has("jobs", "workflows"):
		return "CircleCI"
	case has("version") && has("blocks", "agent"):
		return "Semaphore"
	case has("version") && has("phases"):
		return "AWS CodeBuild"
	case has("version") && has("tasks"):
		return "Task"
	case has("language") && has("script", "install", "before_install", "matrix", "go", "python", "node_js"):
		return "Travis CI"
	case has("build_script", "test_script", "before_build"):
		return "AppVeyor"
	case has("jobs") && has("resources", "resource_types"):
		return "Concourse"
	case has("runs") && has("name", "inputs", "description"):
		return "GitHub Actions (an action)"
	case has("task") && jobKey("container").Match(content):
		return "Cirrus CI"
	case has("services") && !has("include", "pipeline") && (has("networks", "volumes", "configs", "secrets", "name", "version") || len(keys) == 1):
		return "docker compose"
	case has("pipelines"):
		return "Bitbucket Pipelines"
	case has("apiVersion") && has("kind"):
		return "Kubernetes, such as Tekton"
	case has("stages", "before_script"):
		return "GitLab CI"
	}
	return ""
}

// systemOfSteps is the system of a file that has steps at the top, and none with an image of its own: Buildkite's
// and those of Google's Cloud Build, whose names of steps are images.
func systemOfSteps(content []byte, keys []string) string {
	switch {
	case !slices.Contains(keys, "steps") || jobKey("image").Match(content):
		return ""
	case jobKey("command").Match(content) && jobKey("(?:label|key|agents|plugins|wait|block)").Match(content), regexp.MustCompile(`(?m)^[ \t]*-[ \t]+["']?wait\b`).Match(content):
		return "Buildkite"
	case regexp.MustCompile(`(?m)^[ \t]*-?[ \t]+name[ \t]*:[ \t]*["']?[a-z.-]+\.[a-z]+/`).Match(content):
		return "Google Cloud Build"
	}
	return ""
}

// jobKey matches a key that is not at the top of a file, in block or flow style.
func jobKey(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)(?:^[ \t-]+|[{,][ \t]*)["']?` + name + `["']?[ \t]*:`)
}

// topKeys are the keys at the top of a YAML file, as far as they are at the beginning of a line.
func topKeys(content []byte) (keys []string) {
	for _, match := range regexp.MustCompile(`(?m)^["']?([A-Za-z_][A-Za-z_-]*)["']?[ \t]*:(?:[ \t\r]|$)`).FindAllSubmatch(content, 100) {
		keys = append(keys, string(match[1]))
	}
	return keys
}
