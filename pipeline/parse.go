package pipeline

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// maxSteps bounds what a file may ask for; services count too.
const maxSteps = 1000

// maxPorts bounds the published ports of a file: a line of it can name 65,535 by a range.
const maxPorts = 2 * 65535

// MaxRunSteps is the most steps and services that all cells of a matrix may have together: a
// planned step takes some 12 KiB.
const MaxRunSteps = 20_000

// Parse reads a native pipeline file that includes no others. The name of the file is used in
// messages only. The error is an [Errors].
func Parse(file string, data []byte) (*Pipeline, error) { return ParseIncluding(file, data, nil) }

// ParseIncluding reads a native pipeline file and those that it includes, which open reads. The name
// of the file is used in messages only. The error is an [Errors].
func ParseIncluding(file string, data []byte, open Includer) (*Pipeline, error) {
	root, errs := load(file, data)
	if root == nil || len(errs) > 0 {
		return nil, errs.result()
	}
	in := &includer{reader: reader{file: file}, open: open, taken: map[string]string{filepath.Base(file): file}, cost: root.cost}
	in.includes(root, "", 0)
	if err := in.errs.result(); err != nil { // without those steps others would be wrong as well
		return nil, err
	}
	p := &parser{reader: reader{file: file}, names: map[string]value{}, artifactAt: map[string]value{}}
	pipeline := p.pipeline(value{node: root})
	p.checkDependencies(pipeline)
	p.checkAxes(pipeline)
	if err := p.errs.result(); err != nil {
		return nil, err
	}
	return pipeline, nil
}

// parser reads a whole file. Beside the model it keeps what only the checks
// across steps need.
type parser struct {
	reader
	names   map[string]value // of steps and services, to where they are given
	depends [][]value        // for each step the names in its depends_on
	mounted map[string]value // destinations of the mounts of the step that is read

	artifactAt map[string]value // names of artifacts of all steps so far, to where they are given

	published int // ports of all steps so far, those of ranges counted one by one
}

// topFields says how to read every key of a pipeline.
func (p *parser) topFields(out *Pipeline) fields {
	return fields{
		"name":        func(v value) { out.Name = p.line(v) },
		"environment": func(v value) { out.Environment = p.environment(v) },
		"env_file":    func(v value) { out.EnvFiles, out.envFilesAt = p.filled(v, p.word), v.position() },
		"workspace":   func(v value) { out.Workspace = p.workspace(v) },
		"timeout":     func(v value) { out.Timeout = p.duration(v) },
		"volumes":     func(v value) { out.Volumes = p.volumeNames(v) },
		"matrix":      func(v value) { out.Matrix = p.matrix(v) },
		"egress":      func(v value) { out.Egress = p.egress(v) },
		"fail_fast":   func(v value) { out.FailFast = p.boolean(v) },

		"include":            func(value) {}, // what it names is already in place
		"stop_on_failure":    func(v value) { out.StopOnFailure = p.boolean(v) },
		"image_pull_secrets": func(v value) { out.PullSecrets = p.pullSecrets(v) },
		"steps":              func(v value) { out.Steps = p.steps(v) },
		"services":           func(v value) { out.Services = p.services(v) },
	}
}

func (p *parser) pipeline(root value) *Pipeline {
	out := &Pipeline{File: p.file, Workspace: DefaultWorkspace, substitutes: true}
	known := p.topFields(out)
	if root.kind == mapKind {
		for _, pair := range root.pairs {
			if strings.HasPrefix(pair.name, "x-") {
				known[pair.name] = func(value) {}
			}
		}
		if _, given := root.get("steps"); !given {
			p.missing(root, "steps")
		}
	}
	n := entries(root, "steps") + entries(root, "services")
	if n > maxSteps { // nobody needs to know what else is wrong with them
		p.wrong(root, fmt.Sprintf("the file has %d steps and services, more than the %d allowed", n, maxSteps), "")
		return out
	}
	p.object(root, known)
	if matrix, given := root.get("matrix"); given && n*len(out.Cells()) > MaxRunSteps {
		p.wrong(matrix, fmt.Sprintf("all cells together have %d steps, more than the %d allowed", n*len(out.Cells()), MaxRunSteps), "")
	}
	return out
}

// entries is the number of items, or of pairs, behind a key.
func entries(root value, key string) int {
	v, given := root.get(key)
	if !given {
		return 0
	}
	return len(v.items) + len(v.pairs)
}

// line reads a text that is shown, so control characters have no place in it.
func (r *reader) line(v value) string {
	text := r.word(v)
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		r.wrong(v, "must be one line without control characters", "")
		return ""
	}
	return text
}

// workspace reads the mount path of the workspace.
func (p *parser) workspace(v value) string {
	text := p.word(v)
	if text == "" {
		return ""
	}
	if err := checkDestination(text); err != nil {
		p.report(v, err)
		return ""
	}
	return path.Clean(text)
}

func (p *parser) steps(v value) []Step {
	if (v.kind == listKind && len(v.items) == 0) || (v.kind == mapKind && len(v.pairs) == 0) {
		p.wrong(v, "must not be empty", "a pipeline needs at least one step")
		return nil
	}
	var steps []Step
	p.named(v, func(v value, name string) {
		p.depends = append(p.depends, nil)
		steps = append(steps, p.step(v, name, false))
	})
	return steps
}

func (p *parser) services(v value) []Step {
	var services []Step
	p.named(v, func(v value, name string) {
		services = append(services, p.step(v, name, true))
	})
	return services
}

// named goes through a list of maps with a name, or a map from names.
func (p *parser) named(v value, read func(v value, name string)) {
	switch v.kind {
	case listKind:
		for i := range v.items {
			read(v.item(i), "")
		}
	case mapKind:
		for _, pair := range v.pairs {
			read(v.field(pair), pair.name)
		}
	default:
		p.wrongType(v, "a list or a map")
	}
}

const maxName = 100

var (
	stepName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_. -]*[A-Za-z0-9_.-])?$`) })
	hostName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	})
)

// name checks the name of a step, given at v, and notes it down.
func (p *parser) name(v value, name string, service bool) {
	complain := p.wrong
	if v.kind == mapKind {
		complain = p.misplaced // the name is the key
	}
	switch first, taken := p.names[name]; {
	case len(name) > maxName:
		complain(v, fmt.Sprintf("the name has %d characters, more than the %d allowed", len(name), maxName), "")
	case !stepName().MatchString(name):
		complain(v, fmt.Sprintf("%q is not valid as a name", name),
			"use letters, digits, spaces and any of _ . - with a letter or digit first")
	case service && !IsPeerName(name):
		complain(v, fmt.Sprintf("%q is not valid as the name of a service", name),
			"steps reach a service by its name, so it must be a host name: letters, digits and -")
	case taken:
		complain(v, fmt.Sprintf("the name %q is already taken by %s at %s", name, first.path(), first.place(v)), "")
	default:
		p.names[name] = v
	}
}

// checkDependencies reports unknown names and cycles in depends_on.
func (p *parser) checkDependencies(pipeline *Pipeline) {
	steps, services := stepNames(pipeline.Steps), stepNames(pipeline.Services)
	indexOf, isService := map[string]int{}, map[string]bool{}
	for i, name := range steps {
		indexOf[name] = i
	}
	for _, name := range services {
		isService[name] = true
	}
	graph := make([][]int, len(steps))
	for i, entries := range p.depends {
		for _, v := range entries {
			switch to, known := indexOf[v.text]; {
			case p.errs.full():
			case known && to == i:
				p.wrong(v, "a step cannot depend on itself", "")
			case known:
				graph[i] = append(graph[i], to)
			case isService[v.text]: // no edge: a service waits for no step
			default:
				p.wrong(v, fmt.Sprintf("there is no step %q", v.text), didYouMean(v.text, slices.Concat(steps, services)))
			}
		}
	}
	for _, cycle := range cycles(graph) {
		closing, name := cycle[len(cycle)-2], steps[cycle[0]]
		at := slices.IndexFunc(p.depends[closing], func(v value) bool { return v.text == name })
		p.wrong(p.depends[closing][at], "cycle: "+cyclePath(cycle, pipeline.Steps), "remove one of these dependencies")
	}
}

func stepNames(steps []Step) []string {
	names := make([]string, len(steps))
	for i := range steps {
		names[i] = steps[i].Name
	}
	return names
}
