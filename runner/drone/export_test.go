package drone

import (
	"context"
	"encoding/json"

	"github.com/stepexec/stepexec/pipeline"
)

// Plan is what becomes of the details that a server sends, up to what would run.
func Plan(data []byte) (*pipeline.Plan, error) {
	d := &details{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	d.complete()
	w := &worker{o: &Options{Name: "fuzz"}}
	j, err := w.job(context.Background(), d.Stage, d)
	if err != nil {
		return nil, err
	}
	return j.workflow.Plan(j.inputs)
}
