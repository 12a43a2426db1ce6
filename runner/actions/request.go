package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kballard/go-shellquote"
)

// The commands of the runner.
const (
	PrepareJob       = "prepare_job"
	RunScriptStep    = "run_script_step"
	RunContainerStep = "run_container_step"
	CleanupJob       = "cleanup_job"
)

// maxRequest bounds a request in bytes. The environment, its largest part, has what the
// kernel gives programs: 6 MiB.
const maxRequest = 16 << 20

// Request is what the runner asks of a container hook
// (https://github.com/actions/runner, docs/adrs/1891-container-hooks.md).
type Request struct {
	Command      string          `json:"command"`
	ResponseFile string          `json:"responseFile"` // "": no response is wanted
	State        json.RawMessage `json:"state"`        // of the last response with one
	Args         *Args           `json:"args"`         // ReadRequest sets it
}

// Args are a container and, of PrepareJob, the job's containers.
type Args struct {
	Container
	Job      *Container  `json:"container"`
	Services []Container `json:"services"`
}

// Container is a container of a job, or a program in the job's. What the runner does not
// send is zero.
type Container struct {
	ContextName      string            `json:"contextName"` // of a service; the runner does not send it
	Image            string            `json:"image"`
	Dockerfile       string            `json:"dockerfile"`
	Built            string            `json:"-"` // image that the keeper has built of Dockerfile
	EntryPoint       string            `json:"entryPoint"`
	EntryPointArgs   []string          `json:"entryPointArgs"`
	WorkingDirectory string            `json:"workingDirectory"`
	CreateOptions    string            `json:"createOptions"`
	Registry         *Registry         `json:"registry"`
	Environment      map[string]string `json:"environmentVariables"`
	Ports            []string          `json:"portMappings"`
	PrependPath      paths             `json:"prependPath"`
	SystemMounts     []Volume          `json:"systemMountVolumes"`
	UserMounts       []Volume          `json:"userMountVolumes"`
}

// Registry is who pulls an image.
type Registry struct {
	Username  string `json:"username"`
	Password  string `json:"password"`
	ServerURL string `json:"serverUrl"`
}

// Volume is a mount: of a path of the host, or of a volume by its name, or, without a
// source, of one for this job alone.
type Volume struct {
	Source   string `json:"sourceVolumePath"`
	Target   string `json:"targetVolumePath"`
	ReadOnly bool   `json:"readOnly"`
	NoCopy   bool   `json:"-"` // whether a volume with a name begins empty, whatever the image has at Target
}

// paths are directories. The runner once sent one as a text.
type paths []string

// UnmarshalJSON takes a text or a list.
func (p *paths) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*p = nil
		if one != "" {
			*p = paths{one}
		}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(p))
}

// ReadRequest reads the document that the runner sends. It does not wait for the end of r.
func ReadRequest(r io.Reader) (Request, error) {
	var request Request
	bounded := &io.LimitedReader{R: r, N: maxRequest}
	switch err := json.NewDecoder(bounded).Decode(&request); {
	case err == nil && request.Args == nil && request.needsArgs():
		return request, fmt.Errorf("read the runner's request: a %s has args, and this one has none", request.Command)
	case err == nil:
		if request.Args == nil {
			request.Args = &Args{}
		}
		return request, nil
	case bounded.N == 0:
		return request, fmt.Errorf("read the runner's request: it has more than %d bytes", maxRequest)
	}
	// The document has secrets, and messages of this kind show parts of it.
	return Request{}, errors.New("read the runner's request: it is not the JSON document that a runner sends to a container hook")
}

// needsArgs reports whether a request without args would ask for nothing, and be done at once.
func (r *Request) needsArgs() bool {
	return r.Command == PrepareJob || r.Command == RunScriptStep || r.Command == RunContainerStep
}

// splitOptions splits createOptions as a shell would.
func splitOptions(text string) ([]string, error) {
	words, err := shellquote.Split(text)
	if err != nil {
		return nil, fmt.Errorf("options %q: %w", text, err)
	}
	return words, nil
}

// command is a container's arguments: the runner has split a command line at its spaces,
// also those in quotes.
func (c *Container) command() []string {
	line := strings.Join(c.EntryPointArgs, " ")
	if words, err := shellquote.Split(line); err == nil {
		return words
	}
	var words []string // a quote has no end: it was not meant as one
	for _, word := range c.EntryPointArgs {
		if word != "" {
			words = append(words, word)
		}
	}
	return words
}
