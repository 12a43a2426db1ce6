package artifact

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Patterns say which files belong to an artifact: those that an included pattern matches, or that
// are in a folder that one matches, without those that an excluded pattern matches in the same way.
type Patterns struct {
	include, exclude []string
}

// ParsePatterns reads patterns relative to the workspace, as doublestar has them; one that begins
// with ! excludes.
func ParsePatterns(texts []string) (Patterns, error) {
	var p Patterns
	for _, text := range texts {
		pattern, excluded := strings.CutPrefix(text, "!")
		pattern, err := cleanPattern(pattern)
		if err != nil {
			return Patterns{}, fmt.Errorf("%q %w", text, err)
		}
		if excluded {
			p.exclude = append(p.exclude, pattern)
		} else {
			p.include = append(p.include, pattern)
		}
	}
	if len(p.include) == 0 {
		return Patterns{}, errors.New("no pattern says what to take")
	}
	return p, nil
}

func cleanPattern(pattern string) (string, error) {
	switch {
	case strings.Trim(pattern, "/") == "":
		return "", errors.New("names nothing")
	case path.IsAbs(pattern):
		return "", errors.New("is absolute, and must be relative to the workspace")
	case slices.Contains(strings.Split(pattern, "/"), ".."):
		return "", errors.New("has .. in it, and must stay in the workspace")
	case strings.ContainsRune(pattern, 0) || !doublestar.ValidatePattern(pattern):
		return "", errors.New("is not a valid pattern")
	}
	return path.Clean(pattern), nil
}

// excludes reports whether a path, or a folder that it is in, is excluded.
func (p *Patterns) excludes(name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if p.excludesItself(name) {
			return true
		}
	}
	return false
}

// excludesItself is excludes for a path in a folder that is not excluded.
func (p *Patterns) excludesItself(name string) bool {
	return slices.ContainsFunc(p.exclude, func(pattern string) bool { return matches(pattern, name) })
}

func matches(pattern, name string) bool { return doublestar.MatchUnvalidated(pattern, name) }

// split divides a pattern into the folder, or file, in front of its first wildcard and the number
// of names that the rest matches; -1 is any number.
func split(pattern string) (base string, depth int) {
	base, rest := doublestar.SplitPattern(pattern)
	switch {
	case !strings.ContainsAny(rest, `*?[{\`):
		return path.Join(base, rest), 0
	case strings.Contains(rest, "**") || strings.Contains(rest, "{"): // an alternative may have slashes
		return base, -1
	}
	return base, strings.Count(rest, "/") + 1
}
