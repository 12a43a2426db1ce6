package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// substitution is ${matrix.AXIS}, ${env.NAME} or ${env.NAME:-DEFAULT}.
var substitution = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{(matrix|env)\.([^}]*)\}`) })

var envSubstitution = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-.*)?$`) })

// substitute puts the values of a run in the place of ${matrix.AXIS} and ${env.NAME} in a
// value of a native file. A variable that nobody gives is an error: with an empty text in its
// place a step could do less than it should, and be green.
func (pl *planner) substitute(text string, at Position) string {
	if !pl.pipeline.substitutes || !strings.Contains(text, "${") {
		return text
	}
	axes := pl.in.Cell.values()
	return substitution().ReplaceAllStringFunc(text, func(found string) string {
		kind, name, byDefault, hasDefault := parseSubstitution(found)
		if kind == "matrix" {
			return axes[name]
		}
		value, given := pl.in.Facts.Env[name]
		switch {
		case given && (value != "" || !hasDefault):
			return value
		case hasDefault:
			return byDefault
		case pl.in.Mode == ForPreview:
			return found
		}
		pl.fail(at, fmt.Sprintf("variable %s is not given", name), fmt.Sprintf("use --env %s=VALUE, or write ${env.%s:-DEFAULT}", name, name), nil)
		return ""
	})
}

// substituteAll keeps nil apart from an empty list.
func (pl *planner) substituteAll(texts []string, at Position) []string {
	done := slices.Clone(texts)
	for i := range done {
		done[i] = pl.substitute(done[i], at)
	}
	return done
}

// parseSubstitution takes ${KIND.NAME:-DEFAULT} apart.
func parseSubstitution(found string) (kind, name, byDefault string, hasDefault bool) {
	parts := substitution().FindStringSubmatch(found)
	kind, name = parts[1], parts[2]
	if kind == "env" {
		name, byDefault, hasDefault = strings.Cut(name, ":-")
	}
	return kind, name, byDefault, hasDefault
}

// substituted are the texts of a step in which a run's values are put, with their keys.
func (s *Step) substituted() map[string][]string {
	texts := map[string][]string{"image": {s.Image}, "entrypoint": s.Entrypoint, "args": s.Args}
	for _, v := range s.Environment {
		texts["environment."+v.Name] = []string{v.Value.Text}
	}
	for _, setting := range s.Settings {
		texts["settings."+setting.Name] = setting.texts()
	}
	return texts
}

func (s *Setting) texts() []string {
	texts := []string{s.Value.Text}
	for _, part := range slices.Concat(s.List, s.Map) {
		texts = append(texts, part.texts()...)
	}
	return texts
}

// checkSubstitutions reports axes that the matrix lacks, and names that no variable has.
func (p *parser) checkSubstitutions(out *Pipeline, axes map[string]bool) {
	check := func(at Position, key string, texts []string) {
		at.Key = strings.TrimPrefix(at.Key+"."+key, ".")
		for _, found := range substitution().FindAllString(strings.Join(texts, "\n"), -1) {
			kind, name, _, _ := parseSubstitution(found)
			switch {
			case kind == "matrix":
				p.checkAxis(at, name, axes)
			case !envSubstitution().MatchString(strings.TrimSuffix(strings.TrimPrefix(found, "${env."), "}")):
				p.wrongAt(at, fmt.Sprintf("%s is not a variable", found), "write ${env.NAME} or ${env.NAME:-DEFAULT}")
			}
		}
	}
	for _, v := range out.Environment {
		check(Position{Line: v.Line, Column: v.Column, Key: "environment"}, v.Name, []string{v.Value.Text})
	}
	for _, s := range slices.Concat(out.Services, out.Steps) {
		texts := s.substituted()
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			check(Position{Line: cmp.Or(s.Line, 1), Column: s.Column, Key: s.Key, File: s.File}, key, texts[key])
		}
	}
}

func (p *parser) checkAxis(at Position, name string, axes map[string]bool) {
	if !axes[name] {
		p.wrongAt(at, fmt.Sprintf("the matrix has no axis %q", name), didYouMean(name, slices.Sorted(maps.Keys(axes))))
	}
}
