package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	maxCells = 256 // runs that one file can mean
	maxAxes  = 100 // variables that tell the cells apart
)

// Matrix makes several runs of one pipeline: one for each combination of the
// values of its axes that Exclude does not name, and one for each cell of Include.
type Matrix struct {
	Axes             []Axis
	Include, Exclude []Cell
}

// Axis is a variable with the values that it takes one after the other.
type Axis struct {
	Name   string
	Values []string
}

// Cell is a combination of values, in the order of the axes.
type Cell []AxisValue

// AxisValue is a value of one axis.
type AxisValue struct{ Axis, Value string }

// String writes a cell as GO=1.26, OS=debian.
func (c Cell) String() string {
	parts := make([]string, len(c))
	for i, v := range c {
		parts[i] = v.Axis + "=" + v.Value
	}
	return strings.Join(parts, ", ")
}

// Has reports whether all values of other are also those of c.
func (c Cell) Has(other Cell) bool {
	return !slices.ContainsFunc(other, func(v AxisValue) bool { return !slices.Contains(c, v) })
}

func (c Cell) values() map[string]string {
	values := map[string]string{}
	for _, v := range c {
		values[v.Axis] = v.Value
	}
	return values
}

// Cells returns the cells of the matrix: the product of the axes, of which the last
// changes fastest, then those included. Without a matrix it is a single nil one.
func (p *Pipeline) Cells() []Cell {
	m := &p.Matrix
	if len(m.Axes)+len(m.Include) == 0 {
		return []Cell{nil}
	}
	var cells []Cell
	if len(m.Axes) > 0 {
		cells = []Cell{nil}
	}
	for _, axis := range m.Axes {
		cells = WithAxis(cells, axis.Name, axis.Values)
	}
	cells = slices.DeleteFunc(cells, func(c Cell) bool { return slices.ContainsFunc(m.Exclude, c.Has) })
	return append(cells, m.Include...)
}

// WithAxis returns the product of cells and the values of one more axis, which changes fastest.
func WithAxis(cells []Cell, axis string, values []string) []Cell {
	var wider []Cell
	for _, cell := range cells {
		for _, value := range values {
			wider = append(wider, append(slices.Clone(cell), AxisValue{axis, value}))
		}
	}
	return wider
}

var matrixVariable = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{matrix\.([^}]*)\}`) })

// Image puts the cell's values in the place of ${matrix.NAME} in an image reference.
func (c Cell) Image(image string) string {
	values := c.values()
	return matrixVariable().ReplaceAllStringFunc(image, func(found string) string {
		return values[matrixVariable().FindStringSubmatch(found)[1]]
	})
}

// image is that of a step in the planned cell, which must still be a reference.
func (pl *planner) image(s *Step) string {
	image := pl.substitute(pl.in.Cell.Image(s.Image), s.Position)
	if image != s.Image && !imageForm().MatchString(image) {
		pl.fail(s.PositionOf("image"), fmt.Sprintf("%s becomes %q, which is not an image", s.Image, image), "an image reference has no spaces", nil)
	}
	return image
}

var axisName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })

const axisRule = "the name of an axis is that of a variable: letters, digits and _"

// matrix reads a map from axes to values, beside include and exclude.
func (p *parser) matrix(v value) Matrix {
	var m Matrix
	if v.kind != mapKind {
		p.wrongType(v, "a map")
		return m
	}
	if len(v.pairs) > maxAxes {
		p.wrong(v, fmt.Sprintf("has %d keys, more than the %d allowed", len(v.pairs), maxAxes), "")
		return m
	}
	product := 1
	for _, pair := range v.pairs {
		field := v.field(pair)
		switch {
		case pair.name == "include":
			m.Include = p.cells(field)
		case pair.name == "exclude":
			m.Exclude = p.cells(field)
		case !axisName().MatchString(pair.name):
			p.misplaced(field, fmt.Sprintf("%q is not valid as the name of an axis", pair.name), axisRule)
		default:
			axis := Axis{pair.name, p.axisValues(field)}
			m.Axes = append(m.Axes, axis)
			product = min(product*max(len(axis.Values), 1), maxCells+1)
		}
	}
	p.checkMatrix(v, &m, product)
	return m
}

func (p *parser) checkMatrix(v value, m *Matrix, product int) {
	if exclude, given := v.get("exclude"); given {
		for _, cell := range m.Exclude {
			for _, excluded := range cell {
				if !slices.ContainsFunc(m.Axes, func(a Axis) bool { return a.Name == excluded.Axis && slices.Contains(a.Values, excluded.Value) }) {
					p.wrong(exclude, fmt.Sprintf("%s=%s is not a value of any axis", excluded.Axis, excluded.Value), "")
				}
			}
		}
	}
	switch {
	case product+len(m.Include) > maxCells:
		p.wrong(v, fmt.Sprintf("the matrix has more than the %d cells allowed", maxCells), "")
		*m = Matrix{}
	case len((&Pipeline{Matrix: *m}).Cells()) == 0 || len(v.pairs) == 0:
		p.wrong(v, "the matrix has no cells", "give it an axis with values, or include")
	}
}

func (p *parser) axisValues(v value) []string {
	if v.kind != listKind || len(v.items) == 0 {
		p.wrong(v, "must be a list of values", "write it like [1.25, 1.26]")
		return nil
	}
	if len(v.items) > maxCells {
		p.wrong(v, fmt.Sprintf("has %d values, more than the %d cells allowed", len(v.items), maxCells), "")
		return nil
	}
	var values []string
	for i := range v.items {
		text := p.axisValue(v.item(i))
		if slices.Contains(values, text) {
			p.wrong(v.item(i), fmt.Sprintf("the value %q is listed twice", text), "")
		}
		values = append(values, text)
	}
	return values
}

// axisValue is shown beside all that a cell prints.
func (p *parser) axisValue(v value) string {
	text := p.notEmpty(v)
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		p.wrong(v, "must be one line without control characters", "")
		return ""
	}
	return text
}

func (p *parser) cells(v value) []Cell {
	if v.kind != listKind || len(v.items) == 0 {
		p.wrong(v, "must be a list of maps", "write it like [{GO: 1.26, OS: debian}]")
		return nil
	}
	var cells []Cell
	for i := range v.items {
		item := v.item(i)
		if item.kind != mapKind {
			p.wrongType(item, "a map from axes to values")
			continue
		}
		if len(item.pairs) == 0 {
			p.wrong(item, "must not be empty", "give it an axis and its value")
		}
		var cell Cell
		for _, pair := range item.pairs {
			if !axisName().MatchString(pair.name) {
				p.misplaced(item.field(pair), fmt.Sprintf("%q is not valid as the name of an axis", pair.name), axisRule)
			}
			cell = append(cell, AxisValue{pair.name, p.axisValue(item.field(pair))})
		}
		cells = append(cells, cell)
	}
	return cells
}

// checkAxes reports values and conditions that name an axis which the matrix lacks.
func (p *parser) checkAxes(out *Pipeline) {
	names := map[string]bool{}
	for _, axis := range out.Matrix.Axes {
		names[axis.Name] = true
	}
	for _, cell := range out.Matrix.Include {
		for _, v := range cell {
			names[v.Axis] = true
		}
	}
	p.checkSubstitutions(out, names)
	for _, s := range slices.Concat(out.Services, out.Steps) {
		for _, condition := range s.When {
			for _, axis := range condition.Matrix {
				p.checkAxis(Position{Line: condition.Line, Column: condition.Column, Key: condition.Key + ".matrix", File: condition.File}, axis.Axis, names)
			}
		}
	}
}
