package export

import (
	"regexp"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// twins are the variables of a build that Drone and Woodpecker have under different names: the
// first of several is the one that the other becomes.
var twins = []struct{ drone, woodpecker string }{
	{"DRONE_REPO", "CI_REPO"}, {"DRONE_REPO_OWNER", "CI_REPO_OWNER"}, {"DRONE_REPO_NAMESPACE", "CI_REPO_OWNER"}, {"DRONE_REPO_NAME", "CI_REPO_NAME"},
	{"DRONE_REPO_LINK", "CI_REPO_URL"}, {"DRONE_REPO_BRANCH", "CI_REPO_DEFAULT_BRANCH"}, {"DRONE_REPO_PRIVATE", "CI_REPO_PRIVATE"},
	{"DRONE_GIT_HTTP_URL", "CI_REPO_CLONE_URL"}, {"DRONE_REMOTE_URL", "CI_REPO_CLONE_URL"}, {"DRONE_GIT_SSH_URL", "CI_REPO_CLONE_SSH_URL"},
	{"DRONE_COMMIT_SHA", "CI_COMMIT_SHA"}, {"DRONE_COMMIT", "CI_COMMIT_SHA"}, {"DRONE_COMMIT_AFTER", "CI_COMMIT_SHA"}, {"DRONE_COMMIT_BEFORE", "CI_PREV_COMMIT_SHA"},
	{"DRONE_COMMIT_REF", "CI_COMMIT_REF"}, {"DRONE_COMMIT_BRANCH", "CI_COMMIT_BRANCH"}, {"DRONE_BRANCH", "CI_COMMIT_BRANCH"},
	{"DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"}, {"DRONE_COMMIT_AUTHOR", "CI_COMMIT_AUTHOR"}, {"DRONE_COMMIT_AUTHOR_EMAIL", "CI_COMMIT_AUTHOR_EMAIL"},
	{"DRONE_TAG", "CI_COMMIT_TAG"}, {"DRONE_PULL_REQUEST", "CI_COMMIT_PULL_REQUEST"}, {"DRONE_BUILD_NUMBER", "CI_PIPELINE_NUMBER"},
	{"DRONE_BUILD_LINK", "CI_PIPELINE_URL"}, {"DRONE_BUILD_CREATED", "CI_PIPELINE_CREATED"}, {"DRONE_BUILD_STARTED", "CI_PIPELINE_STARTED"},
	{"DRONE_BUILD_STATUS", "CI_PIPELINE_STATUS"}, {"DRONE_DEPLOY_TO", "CI_PIPELINE_DEPLOY_TARGET"}, {"DRONE_STAGE_NAME", "CI_WORKFLOW_NAME"},
	{"DRONE_STEP_NAME", "CI_STEP_NAME"}, {"DRONE_WORKSPACE", "CI_WORKSPACE"}, {"DRONE_SYSTEM_HOST", "CI_SYSTEM_HOST"}, {"DRONE_STAGE_MACHINE", "CI_MACHINE"},
}

// common are names that both have.
var common = map[string]bool{"CI": true, "CI_REPO": true, "CI_COMMIT_SHA": true, "CI_COMMIT_REF": true, "CI_COMMIT_BRANCH": true,
	"CI_COMMIT_MESSAGE": true, "CI_COMMIT_AUTHOR": true, "CI_COMMIT_AUTHOR_EMAIL": true}

// isServers reports whether a name is of the kind that only servers set.
func isServers(name string) bool {
	return strings.HasPrefix(name, "DRONE_") || strings.HasPrefix(name, "CI_")
}

// serverTells reports whether a server of the format sets a variable.
func serverTells(to Format, name string) bool {
	renamed, ok := nameIn(to, name)
	return ok && renamed == name
}

// nameIn is the name that a format has for a variable of a build.
func nameIn(to Format, name string) (renamed string, ok bool) {
	for _, t := range twins {
		switch {
		case to == Drone && (t.drone == name || t.woodpecker == name && !common[name]):
			return map[bool]string{true: name, false: t.drone}[t.drone == name], true
		case to == Woodpecker && (t.woodpecker == name || t.drone == name):
			return t.woodpecker, true
		}
	}
	return name, common[name]
}

var (
	// braced is ${NAME} with an operator, perhaps.
	braced = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{([#]?)([A-Za-z_][A-Za-z0-9_]*)`) })
	// inShell is a variable of a build that a shell reads.
	inShell = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$((?:DRONE|CI)_[A-Z0-9_]+)`) })
	// mayBeNumber is a text that YAML may take for something else than a string once its variables
	// have their values.
	mayBeNumber = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[-+.0-9]*(?:\$\{[^}]*\}[-+._0-9a-zA-Z]*)+$`) })
	// native are the variables of native files.
	native = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\$\{(env|matrix)\.([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}`)
	})
)

// variables replaces variables in all values of a tree.
func (e *exporter) variables(n *yaml.Node, key string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			below := n.Content[i].Value
			if key == "commands" || key == "entrypoint" || key == "command" {
				below = key
			}
			e.variables(n.Content[i+1], below)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			e.variables(item, key)
		}
	case yaml.ScalarNode:
		if strings.Contains(n.Value, "$") || envsubst.Escape(n.Value) != n.Value {
			value := e.replaced(n.Value, key)
			style := n.Style
			n.SetString(value)
			if n.Style == 0 {
				n.Style = style
			}
			if key != "commands" && mayBeNumber().MatchString(value) { // 0123456 would be one
				n.Style = yaml.SingleQuotedStyle
			}
		}
	}
}

// replaced is a text with the variables that the format has.
func (e *exporter) replaced(value, key string) string {
	if e.from == Native {
		return e.fromNative(value, key)
	}
	rename := func(found, name string) string {
		renamed, known := nameIn(e.to, name)
		if e.from == Drone && name == "CI_REPO_NAME" { // the owner is in it, as in Drone 0.x
			renamed = "CI_REPO"
		}
		if e.from == e.to || !isServers(name) {
			return found
		}
		if !known {
			e.refuse(key, "its variable "+name+" is not set there")
			return found
		}
		return strings.Replace(found, name, renamed, 1)
	}
	value = braced().ReplaceAllStringFunc(value, func(found string) string { return rename(found, braced().FindStringSubmatch(found)[2]) })
	value = inShell().ReplaceAllStringFunc(value, func(found string) string { return rename(found, found[1:]) })
	return envsubst.Escape(value)
}

// fromNative escapes what the other system would replace and a native file does not, and
// replaces the variables of native files.
func (e *exporter) fromNative(value, key string) string {
	escaped := func(text string) string {
		var out strings.Builder
		for i := 0; i < len(text); i++ {
			switch {
			case strings.HasPrefix(text[i:], "$$"):
				out.WriteString("$$$$")
				i++
			case strings.HasPrefix(text[i:], "${"):
				out.WriteString("$${")
				i++
			default:
				out.WriteByte(text[i])
			}
		}
		return out.String()
	}
	if key == "commands" {
		return escaped(value)
	}
	var out strings.Builder
	for {
		at := native().FindStringSubmatchIndex(value)
		if at == nil {
			return out.String() + escaped(value)
		}
		out.WriteString(escaped(value[:at[0]]))
		kind, name, byDefault := value[at[2]:at[3]], value[at[4]:at[5]], ""
		if at[6] >= 0 {
			byDefault = value[at[6]:at[7]]
		}
		value = value[at[1]:]
		renamed, known := nameIn(e.to, name)
		switch {
		case kind == "matrix" && e.to == Woodpecker:
			out.WriteString("${" + name + "}")
		case kind == "env" && known:
			out.WriteString("${" + renamed + byDefault + "}")
		default:
			e.refuse(key, "its variable ${"+kind+"."+name+"} is not set there")
		}
	}
}
