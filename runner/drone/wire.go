package drone

import (
	"encoding/json"
	"errors"
	"slices"
)

// Statuses of stages and steps.
const (
	statusPending = "pending"
	statusRunning = "running"
	statusSuccess = "success"
	statusFailure = "failure"
	statusError   = "error"
	statusKilled  = "killed"
	statusSkipped = "skipped"
)

// Codes by which servers show ends that are no command's own.
const (
	codeError  = 255
	codeKilled = 137
)

// maxError is what the server keeps of an error's text, in bytes.
const maxError = 500

// request is what a runner takes.
type request struct {
	Kind    string            `json:"kind"`
	Type    string            `json:"type"`
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	Variant string            `json:"variant"`
	Kernel  string            `json:"kernel"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// stage is a pipeline of a build. What a runner does not know of goes back as it came.
type stage struct {
	ID        int64             `json:"id"`
	RepoID    int64             `json:"repo_id"`
	BuildID   int64             `json:"build_id"`
	Number    int               `json:"number"`
	Name      string            `json:"name"`
	Kind      string            `json:"kind,omitempty"`
	Type      string            `json:"type,omitempty"`
	Status    string            `json:"status"`
	Error     string            `json:"error,omitempty"`
	ErrIgnore bool              `json:"errignore"`
	ExitCode  int               `json:"exit_code"`
	Machine   string            `json:"machine,omitempty"`
	OS        string            `json:"os"`
	Arch      string            `json:"arch"`
	Variant   string            `json:"variant,omitempty"`
	Kernel    string            `json:"kernel,omitempty"`
	Limit     int               `json:"limit,omitempty"`
	Throttle  int               `json:"throttle,omitempty"`
	Started   int64             `json:"started"`
	Stopped   int64             `json:"stopped"`
	Created   int64             `json:"created"`
	Updated   int64             `json:"updated"`
	Version   int64             `json:"version"`
	OnSuccess bool              `json:"on_success"`
	OnFailure bool              `json:"on_failure"`
	DependsOn []string          `json:"depends_on,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Steps     []*step           `json:"steps,omitempty"`
}

// step is one of a stage.
type step struct {
	ID        int64    `json:"id"`
	StageID   int64    `json:"step_id"` // so it is called
	Number    int      `json:"number"`
	Name      string   `json:"name"`
	Status    string   `json:"status"`
	Error     string   `json:"error,omitempty"`
	ErrIgnore bool     `json:"errignore,omitempty"`
	ExitCode  int      `json:"exit_code"`
	Started   int64    `json:"started,omitempty"`
	Stopped   int64    `json:"stopped,omitempty"`
	Version   int64    `json:"version"`
	DependsOn []string `json:"depends_on,omitempty"`
	Image     string   `json:"image,omitempty"`
	Detached  bool     `json:"detached,omitempty"`
}

// details are all that a runner needs for a stage.
type details struct {
	Build   *build      `json:"build"`
	Stage   *stage      `json:"stage"`
	Repo    *repository `json:"repository"`
	Config  *config     `json:"config"`
	Netrc   *netrc      `json:"netrc"`
	Secrets []*secret   `json:"secrets"`
	System  *system     `json:"system"`

	raw subject // build and repository as the server told them, for plugins
}

// UnmarshalJSON keeps what plugins are told: all but the key of the repository's secrets.
func (d *details) UnmarshalJSON(data []byte) error {
	type plain details
	if err := json.Unmarshal(data, (*plain)(d)); err != nil {
		return err
	}
	var raw struct {
		Build json.RawMessage            `json:"build"`
		Repo  map[string]json.RawMessage `json:"repository"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	for _, key := range []string{"secret", "token", "signer"} {
		delete(raw.Repo, key)
	}
	repo, err := json.Marshal(raw.Repo)
	d.raw = subject{Repo: repo, Build: raw.Build}
	return err
}

// subject is what plugins are asked about.
func (d *details) subject() subject { return d.raw }

func (d *details) check() error {
	if d.Build == nil || d.Stage == nil || d.Repo == nil || d.Config == nil {
		return errors.New("the server's details of the stage lack build, stage, repository or config")
	}
	return nil
}

// complete leaves out what is null.
func (d *details) complete() {
	if d.System == nil {
		d.System = &system{}
	}
	d.Secrets = slices.DeleteFunc(d.Secrets, func(s *secret) bool { return s == nil })
	d.Build.Stages = slices.DeleteFunc(d.Build.Stages, func(s *stage) bool { return s == nil })
}

type config struct {
	Data []byte `json:"Data"`
}

type netrc struct {
	Machine  string `json:"machine"`
	Login    string `json:"login"`
	Password string `json:"password"`
}

type secret struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

type system struct {
	Proto   string `json:"proto"`
	Host    string `json:"host"`
	Link    string `json:"link"`
	Version string `json:"version"`
}

type build struct {
	ID           int64             `json:"id"`
	Trigger      string            `json:"trigger"`
	Number       int64             `json:"number"`
	Parent       int64             `json:"parent"`
	Status       string            `json:"status"`
	Event        string            `json:"event"`
	Action       string            `json:"action"`
	Link         string            `json:"link"`
	Title        string            `json:"title"`
	Message      string            `json:"message"`
	Before       string            `json:"before"`
	After        string            `json:"after"`
	Ref          string            `json:"ref"`
	Fork         string            `json:"source_repo"`
	Source       string            `json:"source"`
	Target       string            `json:"target"`
	Author       string            `json:"author_login"`
	AuthorName   string            `json:"author_name"`
	AuthorEmail  string            `json:"author_email"`
	AuthorAvatar string            `json:"author_avatar"`
	Sender       string            `json:"sender"`
	Params       map[string]string `json:"params"`
	Cron         string            `json:"cron"`
	Deploy       string            `json:"deploy_to"`
	Debug        bool              `json:"debug"`
	Started      int64             `json:"started"`
	Created      int64             `json:"created"`
	Stages       []*stage          `json:"stages"`
}

type repository struct {
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Slug       string `json:"slug"`
	SCM        string `json:"scm"`
	HTTPURL    string `json:"git_http_url"`
	SSHURL     string `json:"git_ssh_url"`
	Link       string `json:"link"`
	Branch     string `json:"default_branch"`
	Private    bool   `json:"private"`
	Visibility string `json:"visibility"`
	Trusted    bool   `json:"trusted"`
	Timeout    int64  `json:"timeout"` // minutes
	Secret     string `json:"secret"`
}

// line is one of a step's log.
type line struct {
	Pos  int    `json:"pos"`
	Out  string `json:"out"`
	Time int64  `json:"time"` // seconds since the step began
}

func encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return json.Marshal(v)
}

// short is as much of an error's text as the server keeps.
func short(text string) string {
	if len(text) <= maxError {
		return text
	}
	cut := maxError - len("…")
	for cut > 0 && text[cut]&0xc0 == 0x80 { // not in the middle of a letter
		cut--
	}
	return text[:cut] + "…"
}
