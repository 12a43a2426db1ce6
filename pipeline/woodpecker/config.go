package woodpecker

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Config is a compiled workflow, in the JSON form in which a server hands it to an agent.
type Config struct {
	Stages  []Stage  `json:"pipeline"` // one after the other
	Network string   `json:"network"`
	Volume  string   `json:"volume"` // of the workspace, by which the Volumes of steps name it
	Secrets []Secret `json:"secrets"`
}

// Stage is a list of steps that run at once.
type Stage struct {
	Steps []*Step `json:"steps"`
}

// Secret is a secret of the repository, used or not.
type Secret struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Types of steps.
const (
	TypeClone    = "clone"
	TypeService  = "service"
	TypePlugin   = "plugin"
	TypeCommands = "commands"
)

// Step is a compiled step or service.
type Step struct {
	Name           string            `json:"name"`
	UUID           string            `json:"uuid"`
	Type           string            `json:"type"`
	Image          string            `json:"image"`
	Pull           bool              `json:"pull"`
	Detached       bool              `json:"detach"`
	Privileged     bool              `json:"privileged"`
	WorkingDir     string            `json:"working_dir"`
	WorkspaceBase  string            `json:"workspace_base"`
	Environment    map[string]string `json:"environment"`
	SecretMapping  map[string]string `json:"secret_mapping"` // variables that hold secrets; their values are in Environment too
	Entrypoint     []string          `json:"entrypoint"`
	Commands       []string          `json:"commands"`
	ExtraHosts     []HostAlias       `json:"extra_hosts"`
	Volumes        []string          `json:"volumes"`
	Tmpfs          []string          `json:"tmpfs"`
	Devices        []string          `json:"devices"`
	Networks       []Connection      `json:"networks"`
	DNS            []string          `json:"dns"`
	DNSSearch      []string          `json:"dns_search"`
	OnFailure      bool              `json:"on_failure"`
	OnSuccess      bool              `json:"on_success"`
	Failure        string            `json:"failure"`
	AuthConfig     Auth              `json:"auth_config"`
	NetworkMode    string            `json:"network_mode"`
	BackendOptions map[string]any    `json:"backend_options"`
	WorkflowLabels map[string]string `json:"workflow_labels"` // of the workflow, the same for each step; see Config.Told
}

// HostAlias is a name for an address.
type HostAlias struct {
	Name string `json:"name"`
	IP   string `json:"ip"`
}

// Connection is a network that a step is on, and its names there.
type Connection struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
}

// Auth is the login at the registry of a step's image.
type Auth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// ParseConfig reads the JSON form of a workflow. Keys that it does not know are those of
// other versions, and are left alone.
func ParseConfig(data []byte) (*Config, error) {
	c := &Config{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("read the workflow: %w", err)
	}
	seen := map[string]bool{}
	for _, stage := range c.Stages {
		for i, s := range stage.Steps {
			switch {
			case s == nil:
				return nil, fmt.Errorf("read the workflow: step %d of a stage is null", i)
			case s.UUID == "":
				return nil, fmt.Errorf("read the workflow: the step %q has no uuid", s.Name)
			case seen[s.UUID]:
				return nil, fmt.Errorf("read the workflow: two steps have the uuid %s", s.UUID)
			}
			seen[s.UUID] = true
		}
	}
	if len(seen) == 0 {
		return nil, errors.New("read the workflow: it has no steps")
	}
	return c, nil
}

// Steps are those of all stages, in order.
func (c *Config) Steps() []*Step {
	var all []*Step
	for _, stage := range c.Stages {
		all = append(all, stage.Steps...)
	}
	return all
}

// Names of labels that only the server sets: a workflow file cannot, because the server drops all
// names below woodpecker-ci.org from it. Servers before 3.5 do not send labels to agents, and those
// before 3.17 have no LabelEvent and LabelCommitBranch.
const (
	LabelRepo         = "woodpecker-ci.org/repo-full-name"
	LabelEvent        = "woodpecker-ci.org/event"
	LabelCommitBranch = "woodpecker-ci.org/commit-branch"
)

// Told is what the server itself says of the workflow in a label, and "" if it says nothing.
// Variables such as CI_REPO do not tell it: a workflow file can set them.
func (c *Config) Told(label string) string {
	steps := c.Steps()
	value := steps[0].WorkflowLabels[label]
	for _, s := range steps {
		if s.WorkflowLabels[label] != value {
			return ""
		}
	}
	return value
}
