package drone

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// translation is the work on one pipeline.
type translation struct {
	*parser
	out      *pipeline.Pipeline
	workflow pipeline.Workflow
	stage    Stage
	volumes  map[string]volume
	unusable map[string]bool // names of volumes of another kind
	services map[string]bool // those that are detached steps here are among them
	graph    bool            // some step has depends_on
	clones   bool            // there is a clone step

	base, path, fullPath string // of the workspace

	disableClone bool
	cloneOptions []pipeline.Variable
	platform     string
	others       map[string]bool // steps that are plugins: they get the netrc as variables
	plugins      map[string]bool // those that are privileged by themselves
}

// pipeline translates a document.
func (p *parser) pipeline(d document) {
	t := &translation{parser: p, out: &pipeline.Pipeline{File: p.file, Name: d.name, StopOnFailure: true, NeedsUnsaid: true, NewPrivileges: true}, base: "/drone/src",
		volumes: map[string]volume{}, unusable: map[string]bool{}, services: map[string]bool{}, others: map[string]bool{}, plugins: map[string]bool{}}
	t.stage = Stage{Name: d.name, OS: "linux", Arch: "amd64"}
	if p.o.Stage != nil {
		t.stage = *p.o.Stage
		t.stage.Name = d.name
	}
	t.workflow = pipeline.Workflow{Pipeline: t.out}
	if kind, given := d.Get("type"); given && kind.Raw() != "docker" && kind.Raw() != "" && !(p.o.AsDocker && isLikeDocker(kind.Raw())) {
		t.foreign(d, kind.Raw())
		p.set.Workflows = append(p.set.Workflows, t.workflow)
		return
	}
	if p.o.Netrc != nil {
		p.set.Secrets[netrcSecret+" password "+rand.Text()] = p.o.Netrc.Password // for masking: no step can name it
	}
	if d.legacy {
		t.legacy(d)
	} else {
		t.header(d)
		t.body(d)
	}
	if p.o.Raw {
		t.workflow.Fixed = fixedValues(p.o, t)
	} else {
		t.workflow.Variables = stepVariables(p.o, t)
	}
	p.set.Workflows = append(p.set.Workflows, t.workflow)
}

// isLikeDocker reports whether pipelines of a type can have steps with images.
func isLikeDocker(kind string) bool { return kind == "kubernetes" || kind == "exec" }

// foreign leaves out a pipeline of another type. Only slips in its keys are told: what other
// keys and values mean is for another runner to say.
func (t *translation) foreign(d document, kind string) {
	hint := ""
	if isLikeDocker(kind) {
		hint = " (--as-docker runs it in the images that its steps name)"
	}
	t.workflow.LeftOut = fmt.Sprintf("its type is %s, and only pipelines of type docker run in containers%s", kind, hint)
	warnings := t.set.Warnings
	t.header(d)
	t.drafts(d, "services", true)
	t.drafts(d, "steps", false)
	t.set.Warnings = warnings
	for _, e := range t.Take() {
		if e.Message == unknownKey {
			t.workflow.Wrong = append(t.workflow.Wrong, e)
		}
	}
}

// header reads what steps refer to.
func (t *translation) header(d document) {
	nothing := func(pipeline.Node) {}
	t.object(d.Node, fields{
		"kind": nothing, "type": nothing, "name": nothing, "version": nothing, "steps": nothing, "services": nothing, "concurrency": nothing,
		"platform":           t.readPlatform,
		"workspace":          t.readWorkspace,
		"clone":              t.readClone,
		"environment":        func(n pipeline.Node) { t.out.Environment = t.environment(n) },
		"volumes":            t.readVolumes,
		"image_pull_secrets": t.readPullSecrets,
		"depends_on":         func(n pipeline.Node) { t.workflow.DependsOn = t.texts(n) },
		"trigger":            t.readTrigger,
		"node":               t.readNode,
	}, "server", "resources", "metadata")
	t.placeWorkspace()
}

func (t *translation) readPlatform(n pipeline.Node) {
	t.object(n, fields{
		"os":      func(n pipeline.Node) { t.stage.OS = t.Text(n) },
		"arch":    func(n pipeline.Node) { t.stage.Arch = t.Text(n) },
		"variant": func(n pipeline.Node) { t.stage.Variant = t.Text(n) },
		"version": func(n pipeline.Node) { t.stage.Version = t.Text(n) },
	})
	arch := t.stage.Arch
	if arch == "arm" || t.stage.Variant != "" {
		arch = strings.TrimSuffix(arch+"/"+cmp.Or(t.stage.Variant, "v7"), "/")
	}
	t.platform = t.stage.OS + "/" + arch
	host := t.o.Build.Platform
	switch {
	case t.stage.OS != "linux":
		t.workflow.LeftOut = fmt.Sprintf("its platform is %s, and only linux runs here", t.platform)
	case t.o.Stage == nil && !t.o.Raw && host != "" && t.platform != host:
		t.workflow.LeftOut = fmt.Sprintf("its platform is %s, not %s", t.platform, host)
	}
}

func (t *translation) readWorkspace(n pipeline.Node) {
	base := ""
	t.object(n, fields{
		"base": func(n pipeline.Node) { base = t.Text(n) },
		"path": func(n pipeline.Node) { t.path = t.Text(n) },
	})
	switch {
	case base == "" && path.IsAbs(t.path):
		t.base, t.path = t.path, ""
	case base != "":
		t.base = base
	}
}

// restricted are folders of a system, in whose place no workspace is put.
var restricted = []string{"/etc", "/var", "/proc", "/sys", "/dev", "/bin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin", "/mnt", "/mount", "/media"}

// placeWorkspace decides where the workspace is. The folder above the sources is a volume
// where they are not at the same place: what steps put there is shared, too.
func (t *translation) placeWorkspace() {
	t.fullPath = path.Join("/", t.base, t.path)
	below := func(dir string) bool { return t.fullPath == dir || strings.HasPrefix(t.fullPath, dir+"/") }
	if t.fullPath == "/" || slices.ContainsFunc(restricted, below) {
		t.warn(pipeline.Node{}, fmt.Sprintf("the workspace %s would hide a folder of the system; it is /drone/src", t.fullPath), "")
		t.base, t.path, t.fullPath = "/drone/src", "", "/drone/src"
	}
	t.out.Workspace = t.fullPath
	if base := path.Join("/", t.base); base != t.fullPath {
		t.out.Volumes = append(t.out.Volumes, baseVolume)
	}
}

// baseVolume is no name that a pipeline may use.
const baseVolume = "workspace"

func (t *translation) readClone(n pipeline.Node) {
	set := func(names ...string) func(pipeline.Node) {
		return func(n pipeline.Node) {
			text := t.Text(n)
			if word, isWord := yaml11[strings.ToLower(text)]; isWord {
				if !word {
					return
				}
				text = "true"
			}
			for _, name := range names {
				t.cloneOptions = append(t.cloneOptions, pipeline.Variable{Position: n.Position(), Name: name, Value: pipeline.Value{Text: text}})
			}
		}
	}
	t.object(n, fields{
		"disable":     func(n pipeline.Node) { t.disableClone = t.flag(n) },
		"depth":       set("PLUGIN_DEPTH"),
		"retries":     set("PLUGIN_RETRIES"),
		"skip_verify": set("GIT_SSL_NO_VERIFY", "PLUGIN_SKIP_VERIFY"),
		"trace":       set("GIT_TRACE"),
	})
}

func (t *translation) readPullSecrets(n pipeline.Node) {
	for _, name := range t.texts(n) {
		t.out.PullSecrets = append(t.out.PullSecrets, pipeline.SecretUse{Position: n.Position(), Name: name})
	}
}

// readTrigger decides whether the pipeline is part of the build. A server has decided for
// a runner.
func (t *translation) readTrigger(n pipeline.Node) {
	t.triggered(n, t.condition(n))
}

// triggered decides whether the pipeline takes part.
func (t *translation) triggered(n pipeline.Node, c pipeline.Condition) {
	t.workflow.RunOn, t.workflow.Conditional = c.Status, true
	if t.o.Raw {
		t.workflow.When = []pipeline.Condition{c}
	}
	if t.o.Stage != nil || t.o.Raw || t.workflow.LeftOut != "" {
		return
	}
	decision, err := pipeline.Decide([]pipeline.Condition{c}, t.o.Build.Facts)
	if err != nil {
		t.Report(n, err)
		return
	}
	if decision.On == (pipeline.RunOn{}) {
		t.workflow.LeftOut = decision.Reason
	}
}

func (t *translation) readNode(n pipeline.Node) {
	if n.Kind() != "map" {
		t.WrongType(n, "a map")
		return
	}
	t.workflow.Labels = map[string]string{}
	for _, e := range n.Entries() {
		t.workflow.Labels[e.Name] = t.Text(e.Node)
	}
}
