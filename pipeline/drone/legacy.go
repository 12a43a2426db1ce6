package drone

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// Files of Drone 0.x have a map pipeline of steps, and no kind. Servers of Drone 1 and 2
// convert them (drone-yaml, package converter/legacy); this file reads them as they would.

// isLegacy reports whether a document is a whole file of Drone 0.x.
func isLegacy(n pipeline.Node) bool {
	_, hasKind := n.Get("kind")
	_, hasSteps := n.Get("pipeline")
	return hasSteps && !hasKind
}

// legacyDocuments are the pipelines of a file of Drone 0.x: one for each cell of its matrix,
// whose values are put into the text. Without a matrix it is the pipeline default. The result
// is nil for other files.
func (p *parser) legacyDocuments(substitute func(text string) (string, error)) ([]document, error) {
	source, nodes := pipeline.ReadSource(p.file, []byte(envsubst.Unescape(p.text)))
	if source.Err() != nil || len(nodes) != 1 || !isLegacy(nodes[0]) {
		return nil, nil // what is wrong is told of the text with its variables
	}
	cells := []pipeline.Cell{nil}
	if matrix, given := nodes[0].Get("matrix"); given && matrix.Kind() != "null" {
		reading := &parser{Source: source, file: p.file}
		cells = reading.legacyCells(matrix)
		if err := source.Err(); err != nil {
			return nil, err
		}
	}
	var documents []document
	all := 0 // bytes of the texts of all cells
	for i, cell := range cells {
		text := p.text
		for _, v := range cell {
			name := "${" + v.Axis + "}"
			if all+len(text)+strings.Count(text, name)*len(v.Value) > maxCellText {
				return nil, p.tooMuchText()
			}
			text = strings.ReplaceAll(text, name, v.Value)
		}
		text, err := substitute(text)
		if err != nil {
			return nil, err
		}
		if all += len(text); all > maxCellText && cell != nil {
			return nil, p.tooMuchText()
		}
		if p.Source == nil {
			p.Source, nodes = pipeline.ReadSource(p.file, []byte(text))
		} else {
			nodes = p.Source.Read([]byte(text))
		}
		if err := p.Err(); err != nil {
			return nil, err
		}
		d := document{Node: nodes[0], kind: "pipeline", name: "default", legacy: true}
		if cell != nil {
			d.name = fmt.Sprintf("matrix-%d", i+1)
			p.warnOfAxes(text, cell, i)
		}
		documents = append(documents, d)
	}
	return documents, nil
}

// warnOfAxes tells of axes that Drone 0.x gave to the steps as variables.
func (p *parser) warnOfAxes(text string, cell pipeline.Cell, index int) {
	if index > 0 {
		return // told of the first cell
	}
	for _, v := range cell {
		if regexp.MustCompile(`\$` + regexp.QuoteMeta(v.Axis) + `\b`).MatchString(text) {
			p.set.Warnings = append(p.set.Warnings, &pipeline.Error{File: p.file,
				Message: fmt.Sprintf("$%s is no variable of the steps: since version 1 Drone puts only ${%s} into the text", v.Axis, v.Axis)})
		}
	}
}

// maxCells is the most pipelines that a matrix can mean. Drone silently leaves out those beyond
// the 27th.
const maxCells = 256

// maxCellText is the most bytes that the texts of all cells can have. A value can stand in many
// places and have other axes in it, and all cells are read.
const maxCellText = 2 << 20

func (p *parser) tooMuchText() error {
	return &pipeline.Error{File: p.file, Message: fmt.Sprintf("matrix: the pipelines of all cells together have more than the %d bytes allowed", maxCellText)}
}

func (p *parser) legacyCells(n pipeline.Node) []pipeline.Cell {
	if include, given := n.Get("include"); given {
		var cells []pipeline.Cell
		for _, item := range include.Items() {
			cell := pipeline.Cell{}
			for _, e := range item.Entries() {
				cell = append(cell, pipeline.AxisValue{Axis: e.Name, Value: p.Text(e.Node)})
			}
			cells = append(cells, cell)
		}
		if len(cells) == 0 || len(cells) > maxCells {
			p.Wrong(include, fmt.Sprintf("must be a list of 1 to %d maps", maxCells), "")
		}
		return cells
	}
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
		return nil
	}
	cells := []pipeline.Cell{{}}
	for _, axis := range n.Entries() {
		values := p.either(axis.Node, p.Text)
		if len(values) == 0 {
			continue
		}
		if len(cells)*len(values) > maxCells {
			p.Wrong(n, fmt.Sprintf("the matrix has more than the %d cells allowed", maxCells), "")
			return nil
		}
		cells = pipeline.WithAxis(cells, axis.Name, values)
	}
	return cells
}

// legacy translates a document of Drone 0.x.
func (t *translation) legacy(d document) {
	ignore := func(pipeline.Node) {}
	t.object(d.Node, fields{
		"pipeline": ignore, "services": ignore, "clone": ignore, "matrix": ignore,
		"workspace": t.readWorkspace,
		"branches": func(n pipeline.Node) {
			c := pipeline.Condition{Position: n.Position(), Status: pipeline.RunOn{Success: true}, Branch: t.match(n)}
			t.triggered(n, c)
		},
		"secrets": func(n pipeline.Node) {
			t.warn(n, "secrets of a vault are not known here", "give them by --secret")
		},
	}, "platform", "labels", "networks", "volumes", "version")
	t.placeWorkspace()
	services, clones, steps := t.legacyDrafts(d, "services"), t.legacyDrafts(d, "clone"), t.legacyDrafts(d, "pipeline")
	t.disableClone = len(clones) > 0
	if t.o.Clone == "" && t.disableClone { // a run without a server
		t.warn(d.at("clone"), "is left out: the workspace has the sources already", "")
		clones = nil
	}
	t.assemble(d.at("pipeline"), services, slices.Concat(clones, steps))
}

func (t *translation) legacyDrafts(d document, key string) []draft {
	n, given := d.Get(key)
	if !given || n.Kind() == "null" {
		return nil
	}
	if n.Kind() != "map" {
		t.WrongType(n, "a map")
		return nil
	}
	var drafts []draft
	for _, e := range n.Entries() {
		if e.Kind() != "map" {
			t.WrongType(e.Node, "a map")
			continue
		}
		drafts = append(drafts, t.legacyDraft(e, key == "services"))
	}
	return drafts
}

// legacyDraft reads a step of Drone 0.x. Whatever is no key of every step is a parameter of a
// plugin.
func (t *translation) legacyDraft(e pipeline.Entry, service bool) draft {
	s := draft{node: e.Node, service: service}
	s.Name, s.Position = e.Name, e.Position()
	s.Platform, s.Limits, s.Network = t.platform, t.o.Limits, t.o.Network
	list := func(to *[]string) func(pipeline.Node) {
		return func(n pipeline.Node) { *to = t.either(n, t.Text) }
	}
	known := fields{
		"image":       func(n pipeline.Node) { s.Image = t.Text(n) },
		"commands":    list(&s.Commands),
		"command":     list(&s.Args),
		"entrypoint":  list(&s.Entrypoint),
		"environment": func(n pipeline.Node) { s.Environment = t.legacyEnvironment(n) },
		"secrets":     func(pipeline.Node) {}, // after the environment
		"detach":      func(n pipeline.Node) { s.Detach = t.flag(n) },
		"when":        func(n pipeline.Node) { c := t.legacyCondition(n); s.condition = &c },
		"volumes":     func(n pipeline.Node) { s.Mounts, s.mounts = t.legacyMounts(n), true },
		"pull": func(n pipeline.Node) {
			if t.flag(n) {
				s.Pull = pipeline.PullAlways
			}
		},
	}
	host := t.hostFields(&s)
	for _, key := range []string{"privileged", "dns", "dns_search", "extra_hosts"} {
		known[key] = host[key]
	}
	for _, key := range []string{"allow_failure", "devices", "tmpfs", "shell"} {
		known[key] = func(n pipeline.Node) { t.warn(n, "Drone's converter drops this key", "") }
	}
	var settings []pipeline.Entry
	for _, key := range e.Entries() {
		read, found := known[key.Name]
		switch {
		case found && key.Kind() != "null":
			read(key.Node)
		case found:
		default:
			settings = append(settings, key)
		}
	}
	if _, hasCommands := e.Get("commands"); hasCommands {
		for _, key := range settings {
			if hint := pipeline.DidYouMean(key.Name, slices.Sorted(maps.Keys(known))); hint != "" {
				t.Misplaced(key.Node, unknownKey, hint)
			}
		}
	}
	s.Settings = t.settingsOf(settings)
	if secrets, given := e.Get("secrets"); given && secrets.Kind() != "null" {
		t.legacySecrets(&s, secrets)
	}
	t.legacyLogin(&s)
	t.complete(&s)
	return s
}

// legacyEnvironment reads a map, or a list of NAME=VALUE.
func (t *translation) legacyEnvironment(n pipeline.Node) []pipeline.Variable {
	if n.Kind() != "list" {
		return t.environment(n)
	}
	var variables []pipeline.Variable
	for _, item := range n.Items() {
		name, value, _ := strings.Cut(t.Text(item), "=")
		if name == "" {
			t.Wrong(item, "has no name", "write NAME=VALUE")
			continue
		}
		if value != "" { // as in files of Drone 1, empty ones are left out
			variables = append(variables, pipeline.Variable{Position: item.Position(), Name: name, Value: pipeline.Value{Text: value}})
		}
	}
	return variables
}

// legacySecrets gives a step the secrets that it lists, under their names in upper case.
func (t *translation) legacySecrets(s *draft, n pipeline.Node) {
	readMap := func(n pipeline.Node, known map[string]func(pipeline.Node)) { t.object(n, known) }
	t.ListedSecrets(n, readMap, func(item pipeline.Node, secret, variable string) {
		s.Environment = slices.DeleteFunc(s.Environment, func(v pipeline.Variable) bool { return v.Name == variable })
		s.Environment = append(s.Environment, pipeline.Variable{Position: item.Position(), Name: variable, Value: pipeline.Value{FromSecret: secret}})
	})
}

// legacyLogin gives a plugin that is privileged by itself its login as settings: no other
// variable reaches it, and files of Drone 0.x have the login as secrets.
func (t *translation) legacyLogin(s *draft) {
	if !t.isPrivilegedImage(s.Image) || isOwnProgram(s) {
		return
	}
	s.Environment = slices.DeleteFunc(s.Environment, func(v pipeline.Variable) bool {
		setting, found := strings.CutPrefix(v.Name, "DOCKER_")
		if !found || setting != "USERNAME" && setting != "PASSWORD" {
			return false
		}
		s.Settings = append(s.Settings, pipeline.Setting{Name: strings.ToLower(setting), Value: v.Value})
		return true
	})
}

// legacyCondition reads when. Its environment is the target of a deployment.
func (t *translation) legacyCondition(n pipeline.Node) pipeline.Condition {
	c := pipeline.Condition{Position: n.Position(), Status: pipeline.RunOn{Success: true}}
	known := fields{"status": func(n pipeline.Node) { c.Status = t.status(n) }}
	for key, match := range map[string]*pipeline.Match{
		"branch": &c.Branch, "event": &c.Event, "ref": &c.Ref, "repo": &c.Repo, "instance": &c.Instance, "environment": &c.Deploy,
	} {
		known[key] = func(n pipeline.Node) { *match = t.match(n) }
	}
	for _, key := range []string{"matrix", "local", "platform"} {
		known[key] = func(n pipeline.Node) {
			t.warn(n, "Drone's converter drops this condition: the step runs whatever it says", "")
		}
	}
	t.object(n, known)
	if slices.Contains(c.Event.Include, "deployment") {
		t.warn(n, "Drone has no event deployment since version 1", "its events for that are promote and rollback")
	}
	return c
}

// legacyMounts reads HOST:CONTAINER[:ro].
func (t *translation) legacyMounts(n pipeline.Node) []pipeline.Mount {
	if n.Kind() != "list" {
		t.WrongType(n, "a list")
		return nil
	}
	var mounts []pipeline.Mount
	for _, item := range n.Items() {
		parts := strings.SplitN(t.Text(item), ":", 3)
		if len(parts) < 2 || !path.IsAbs(parts[0]) || !path.IsAbs(parts[1]) {
			t.Wrong(item, fmt.Sprintf("%q does not name a folder of the host and one of the container", item.Raw()), "write it like /var/cache:/cache or /var/cache:/cache:ro")
			continue
		}
		t.untrusted(item, "mount host volumes")
		if parts[0] == cgroups && path.Clean(parts[1]) == cgroups {
			continue // it has its own there
		}
		m, err := volume{host: parts[0]}.mount(parts[1], len(parts) == 3 && parts[2] == "ro")
		if err != nil {
			t.Report(item, err)
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}
