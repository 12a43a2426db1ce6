package woodpecker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

const (
	// maxCells is the most workflows that one file can mean. Woodpecker silently leaves out
	// those beyond the 27th.
	maxCells = 256
	maxAxes  = 100 // variables that tell the cells apart
)

// matrix reads the cells of a file's matrix, from the text as it is: one nil cell without.
func (l *loader) matrix(file, text string) ([]pipeline.Cell, error) {
	if l.o.Raw || !strings.Contains(text, "matrix") {
		return []pipeline.Cell{nil}, nil
	}
	source, documents := pipeline.ReadSplicing(file, []byte(envsubst.Unescape(text)))
	if err := source.Err(); err != nil || len(documents) == 0 {
		return []pipeline.Cell{nil}, nil // it may be YAML once variables have their values; what is wrong then is told then
	}
	n, given := documents[0].Get("matrix")
	if !given {
		return []pipeline.Cell{nil}, nil
	}
	p := &parser{loader: l, Source: source, file: file}
	cells := p.cells(n)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return cells, nil
}

func (p *parser) cells(n pipeline.Node) []pipeline.Cell {
	if n.Kind() != "map" {
		p.WrongType(n, "a map")
		return nil
	}
	if include, given := n.Get("include"); given {
		return p.included(include)
	}
	axes := n.Entries()
	if len(axes) > maxAxes {
		p.Wrong(n, fmt.Sprintf("the matrix has %d axes, more than the %d allowed", len(axes), maxAxes), "")
		return nil
	}
	slices.SortFunc(axes, func(a, b pipeline.Entry) int { return strings.Compare(a.Name, b.Name) }) // as servers number the workflows
	cells := []pipeline.Cell{nil}
	for _, axis := range axes {
		values := p.texts(axis.Node)
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

// included reads the list that names every cell.
func (p *parser) included(n pipeline.Node) []pipeline.Cell {
	var cells []pipeline.Cell
	items := n.Items()
	if len(items) == 0 || len(items) > maxCells {
		p.Wrong(n, fmt.Sprintf("must be a list of 1 to %d maps", maxCells), "")
		return nil
	}
	for _, item := range items {
		if len(item.Entries()) > maxAxes {
			p.Wrong(item, fmt.Sprintf("has more than the %d axes allowed", maxAxes), "")
			return nil
		}
		var cell pipeline.Cell
		for _, e := range item.Entries() {
			value := ""
			if e.Kind() != "null" {
				value = p.Text(e.Node)
			}
			cell = append(cell, pipeline.AxisValue{Axis: e.Name, Value: value})
		}
		slices.SortFunc(cell, func(a, b pipeline.AxisValue) int { return strings.Compare(a.Axis, b.Axis) })
		cells = append(cells, cell)
	}
	return cells
}

// convertMatrix makes a native matrix of one that is not put into the text.
func (p *parser) convertMatrix(n pipeline.Node) {
	m := &p.out.Matrix
	if p.cells(n) == nil {
		return
	}
	if include, given := n.Get("include"); given {
		m.Include = p.included(include)
		return
	}
	for _, e := range n.Entries() {
		m.Axes = append(m.Axes, pipeline.Axis{Name: e.Name, Values: p.texts(e.Node)})
	}
}
