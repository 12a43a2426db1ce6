package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// chosenCells are the cells of a pipeline's matrix that have all of the values AXIS=VALUE.
func chosenCells(w *pipeline.Workflow, values []string) ([]pipeline.Cell, error) {
	var want pipeline.Cell
	for _, text := range values {
		axis, value, given := strings.Cut(text, "=")
		if !given {
			return nil, fmt.Errorf("--matrix %s: must be AXIS=VALUE", text)
		}
		want = append(want, pipeline.AxisValue{Axis: axis, Value: value})
	}
	cells := w.Cells()
	if w.Cell != nil {
		cells = []pipeline.Cell{w.Cell}
	}
	cells = slices.DeleteFunc(cells, func(c pipeline.Cell) bool { return !c.Has(want) })
	if len(cells) == 0 && w.Cell == nil {
		return nil, fmt.Errorf("--matrix %s: the matrix has no such cell", want)
	}
	return cells, nil
}
