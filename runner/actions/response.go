package actions

import (
	"encoding/json"
	"fmt"
	"os"
)

// State is what the runner keeps of a job between two calls.
type State struct {
	Job string `json:"job"` // folder of the job, below that of all jobs
}

// Response is what the runner is told of a prepared job.
type Response struct {
	State    State           `json:"state"`
	Context  ResponseContext `json:"context"`
	IsAlpine bool            `json:"isAlpine"` // of the job's container: which node the runner takes
}

// ResponseContext becomes the context job of expressions.
type ResponseContext struct {
	Container *ResponseContainer  `json:"container,omitempty"`
	Services  []ResponseContainer `json:"services"` // as in the request
}

// ResponseContainer is a container that runs. The runner takes no null for its fields.
type ResponseContainer struct {
	Image   string            `json:"image"`   // as in the request
	ID      string            `json:"id"`      // hexadecimal
	Network string            `json:"network"` // a name
	Ports   map[string]string `json:"ports"`   // of the container, to those of the host
}

// write writes a response to the file that the runner has made for it.
func (r *Response) write(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write the response for the runner: %w", err)
	}
	return nil
}

// job reads the state of a request; "" without one.
func (r *Request) job() (string, error) {
	var state State
	if len(r.State) == 0 || string(r.State) == "null" {
		return "", nil
	}
	if err := json.Unmarshal(r.State, &state); err != nil {
		return "", fmt.Errorf("read the job's state, which the runner keeps: %w", err)
	}
	return state.Job, nil
}
