package pipeline

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// environment puts a step's environment together; of a name set twice the later
// wins. fromFiles are the variables of the step's env files.
func (pl *planner) environment(s *Step, fromFiles []string) []string {
	var own []string
	if !pl.in.Mode.outsidePipeline() {
		own = []string{
			"CI=true",
			"STEPEXEC=true",
			"STEPEXEC_PIPELINE=" + pl.name(),
			"STEPEXEC_STEP=" + s.Name,
			"STEPEXEC_WORKSPACE=" + pl.workspace,
		}
	}
	if pl.in.Base != nil {
		own = append(own, pl.variables(pl.in.Base(s.Name))...)
	}
	if pl.exports(s) {
		own = append(own, "STEPEXEC_OUTPUT="+ExportsPath)
	}
	if pl.masks(s) {
		own = append(own, "STEPEXEC_MASK="+MaskPath)
	}
	for _, v := range pl.in.Cell {
		own = append(own, v.Axis+"="+v.Value)
	}
	entries := map[string]string{}
	for _, layer := range [][]string{
		own,
		pl.before,
		fromFiles,
		pl.plugin(s.Settings),
		pl.variables(s.Environment),
		pl.secretVariables(s.Secrets),
		pl.after,
	} {
		for _, entry := range layer {
			name, _, _ := strings.Cut(entry, "=")
			entries[name] = entry
		}
	}
	return slices.Sorted(maps.Values(entries))
}

// secretEnvironment finds the variables of a step that are secrets, and which.
func (pl *planner) secretEnvironment(s *Step, env []string) map[string]string {
	from := map[string]string{}
	add := func(variables []Variable) {
		for _, v := range variables {
			from[v.Name] = v.Value.FromSecret
		}
	}
	add(pl.pipeline.Environment)
	for _, setting := range s.Settings {
		from[pluginVariable(setting.Name)] = setting.Value.FromSecret
	}
	add(s.Environment)
	for _, use := range s.Secrets {
		from[use.Env] = use.Name
	}
	var secrets map[string]string
	for _, entry := range env {
		name, text, _ := strings.Cut(entry, "=")
		if secret := from[name]; secret != "" && text == pl.in.Secrets[secret] { // and not set by a flag
			if secrets == nil {
				secrets = map[string]string{}
			}
			secrets[name] = secret
		}
	}
	return secrets
}

// authored are the names of the variables that the pipeline file chooses for a step: those
// of its environment, env files, secrets and matrix. The settings of a plugin all begin
// with PLUGIN_ and are not among them.
func (pl *planner) authored(s *Step, fromFiles []string) []string {
	names := map[string]bool{}
	for _, v := range slices.Concat(pl.pipeline.Environment, s.Environment) {
		names[v.Name] = true
	}
	for _, entry := range slices.Concat(pl.inFiles, fromFiles) {
		name, _, _ := strings.Cut(entry, "=")
		names[name] = true
	}
	for _, v := range pl.in.Cell {
		names[v.Axis] = true
	}
	for _, use := range s.Secrets {
		if use.Env != "" {
			names[use.Env] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// ExportsPath is the file in the container that takes the variables for later steps.
const ExportsPath = "/run/stepexec/output"

// MaskPath is the file in the container that takes values to mask.
const MaskPath = "/run/stepexec/mask"

// masks reports whether a step may have values masked: all but one with a raw
// specification.
func (pl *planner) masks(s *Step) bool { return !pl.in.Mode.outsidePipeline() && s.SpecFile == "" }

// exports reports whether a step may hand on variables: not a service or a detached
// step, which never ends before others, nor one with a raw specification.
func (pl *planner) exports(s *Step) bool {
	return pl.isStep[s.Name] && !pl.in.Mode.outsidePipeline() && !s.Detach && s.SpecFile == ""
}

// files reads env files; relative ones start from dir.
func (pl *planner) files(names []string, at Position, dir string) []string {
	var entries []string
	for _, name := range names {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		read, err := readEnvFile(name, pl.opener(at), pl.given)
		if err != nil {
			pl.fail(at, err.Error(), "", err)
		}
		entries = append(entries, pl.checked(read, at)...)
	}
	return entries
}

// given finds the variables that whoever starts the run has given it: flags and the cell of a matrix.
func (pl *planner) given(name string) (string, bool) {
	for _, entry := range slices.Backward(pl.in.Environment) {
		if text, found := strings.CutPrefix(entry, name+"="); found {
			return text, true
		}
	}
	for _, v := range pl.in.Cell {
		if v.Axis == name {
			return v.Value, true
		}
	}
	return "", false
}

func (pl *planner) plugin(settings []Setting) []string {
	var entries []string
	for _, s := range settings {
		entries = append(entries, pl.checked([]string{pluginVariable(s.Name) + "=" + s.text(pl.value)}, s.Position)...)
	}
	return entries
}

func (pl *planner) variables(variables []Variable) []string {
	var entries []string
	for _, v := range variables {
		if v.Value.FromRun != "" {
			entries = append(entries, v.Name+"="+runMark+string(v.Value.FromRun))
			continue
		}
		text := ""
		if v.Value.FromHost {
			text = pl.hostVariable(v.Name, v.Position)
		} else {
			text = pl.value(v.Value, v.Position)
		}
		entries = append(entries, pl.checked([]string{v.Name + "=" + text}, v.Position)...)
	}
	return entries
}

// runMark is in front of a fact of the run among values, none of which has a NUL.
const runMark = "\x00"

// fromRun takes the variables that are facts of the run out of the others.
func fromRun(entries []string) (others []string, facts []RunVariable) {
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		if fact, found := strings.CutPrefix(value, runMark); found {
			facts = append(facts, RunVariable{name, RunFact(fact)})
		} else {
			others = append(others, entry)
		}
	}
	return others, facts
}

func (pl *planner) hostVariable(name string, at Position) string {
	if pl.in.LookupEnv == nil {
		pl.fail(at, fmt.Sprintf("%s would take its value from the host, which is not allowed here", name), "write NAME=value", nil)
		return ""
	}
	pl.taken[name] = true
	text, found := pl.in.LookupEnv(name)
	if !found {
		pl.fail(at, fmt.Sprintf("there is no variable %s in the host's environment", name), "set it, or write "+name+"=value", nil)
	}
	return text
}

func (pl *planner) secretVariables(uses []SecretUse) []string {
	var entries []string
	for _, use := range uses {
		if use.Env != "" {
			entries = append(entries, pl.checked([]string{use.Env + "=" + pl.secret(use.Name, use.Position)}, use.Position)...)
		}
	}
	return entries
}

// checked reports the entries that execve would refuse with a message that names
// none of them, and returns the others. Values stay out of the messages: they may
// be secret.
func (pl *planner) checked(entries []string, at Position) []string {
	var good []string
	for _, entry := range entries {
		name, text, found := strings.Cut(entry, "=")
		switch {
		case !found:
			pl.fail(at, fmt.Sprintf("%q has no value", name), "write NAME=value", nil)
		case name == "" || strings.Contains(name, "\x00"):
			pl.fail(at, "the name of a variable must not be empty nor contain NUL", "write NAME=value", nil)
		case strings.Contains(text, "\x00"):
			pl.fail(at, fmt.Sprintf("the value of %s contains a NUL byte, which no variable can hold", name), "use a file under secrets", nil)
		default:
			good = append(good, entry)
		}
	}
	return good
}

// value is the text of a literal or of a secret.
func (pl *planner) value(v Value, at Position) string {
	if v.FromSecret != "" {
		return pl.secret(v.FromSecret, at)
	}
	return pl.substitute(v.Text, at)
}

// unknownSecret stands for a secret that is not given, in a preview.
const unknownSecret = "***"

func (pl *planner) secret(name string, at Position) string {
	text, given := pl.in.Secrets[name]
	if !given && pl.in.Mode == ForPreview {
		return unknownSecret
	}
	if !given {
		pl.fail(at, fmt.Sprintf("secret %q is not given", name), fmt.Sprintf("use --secret %s, or --secret-file", name), nil)
	}
	return text
}

// byName turns entries of NAME=value into a map.
func byName(entries []string) map[string]string {
	values := map[string]string{}
	for _, entry := range entries {
		name, text, _ := strings.Cut(entry, "=")
		values[name] = text
	}
	return values
}
