package pipeline

import (
	"time"

	"github.com/stepexec/stepexec/egress"
)

// DefaultWorkspace is where the workspace is mounted when the file does not say.
const DefaultWorkspace = "/workspace"

// Position says where in the file something stands, for messages. The zero
// Position is that of a pipeline which was not read from a native file.
type Position struct {
	Line, Column int    // both count from 1
	Key          string // path of the key, like steps[0].image
	File         string // of an included file; "" is the pipeline's own
}

// Pipeline is a pipeline file.
type Pipeline struct {
	File        string // for messages only
	Name        string
	Environment []Variable
	EnvFiles    []string
	Workspace   string        // absolute mount path in the containers
	Timeout     time.Duration // of the whole run; 0 is none
	Matrix      Matrix
	Volumes     []string // names of folders that the steps of a run share
	FailFast    bool     // the first failure ends the steps that run on success only
	// StopOnFailure lets no step begin that runs on success once any has failed, whether it
	// depends on that or not; those that run after a failure do.
	StopOnFailure bool
	SafeDirectory bool          // the steps mount a workspace by themselves, in which git works whoever owns it
	NewPrivileges bool          // setuid programs work in steps and services that do not say otherwise, as with docker
	Egress        *egress.Rules // of the steps and services that name none; nil: everything may be reached
	PullSecrets   []SecretUse   // by Name alone: each holds a docker config.json for the registries of the images
	Steps         []Step
	Services      []Step
	NeedsUnsaid   bool // the format has no word for which services a step needs: it needs those that it calls

	envFilesAt  Position
	substitutes bool // its values may have ${matrix.AXIS} and ${env.NAME}: it is a native file
}

// Step is one step, or one service, of a [Pipeline]. Zero values mean the
// default throughout.
type Step struct {
	Position

	Name        string
	Image       string
	Platform    string // like linux/arm64; "" is that of the machine
	Pull        PullPolicy
	Commands    []string
	Shell       []string // argv in front of the script's path; nil is /bin/sh -e
	Entrypoint  []string // nil is the image's
	Args        []string // nil is the image's
	Environment []Variable
	EnvFiles    []string
	Secrets     []SecretUse
	Settings    []Setting
	Directory   string // absolute, or relative to the workspace
	User        string
	Mounts      []Mount       // of mounts and volumes, in the order of the file
	Network     string        // "host", "none" or "private"; "" is host
	Egress      *egress.Rules // what it may reach outside the run; nil: as the pipeline says
	DependsOn   []string      // nil is not given, which differs from empty; see [PlannedStep]
	Keep        bool          // its root file system stays after the run
	Detach      bool          // runs beside the steps after it, until the last one has ended
	Serves      bool          // with Detach: a service that has conditions or dependencies
	Failure     FailurePolicy
	EndsRun     []int       // exit codes with which the step has succeeded and no further one begins
	When        []Condition // any of them must hold; none is on success
	Retry       Retry
	Timeout     time.Duration // 0 is none
	Ready       *Ready        // of a service, or with Detach; nil is not given
	Stdin       string        // path of a file, or StdinInherited; "" is /dev/null
	Output      string        // path of a file that takes what it prints, or OutputNone; "" is the log
	OutputLimit int64         // bytes of its output that the log takes; 0: the machine's limit
	Owner       *Owner        // nil: files in the workspace stay as they are
	SpecFile    string        // path of an OCI config.json; "" is none
	Caches      []KeyedCache  // that Mounts of the type MountKeyed have, by their paths
	Artifacts   []Artifact    // files that are collected when it has ended
	Reports     *TestReports  // nil: none

	Names    Names
	Limits   Limits
	Security Security
	Advanced Advanced

	NoNewPrivileges        bool // Security.AllowNewPrivileges is off by the file's own word
	envFilesAt, specFileAt Position
	places                 map[string]Position // of the keys that the file gives, by name
}

// PositionOf returns where the file has a key of the step, or where the step begins if that is not known.
func (s *Step) PositionOf(key string) Position {
	if at, known := s.places[key]; known {
		return at
	}
	return s.Position
}

// Variable is one environment variable.
type Variable struct {
	Position
	Name  string
	Value Value
}

// Value is a literal text, or where it comes from.
type Value struct {
	Text       string
	FromSecret string // the secret whose value takes the place of Text; "" is none
	FromHost   bool   // the value that the variable has for stepexec itself takes the place of Text
	FromRun    RunFact
}

// RunFact is what is known of a run only when a step's turn comes. "" is none.
type RunFact string

// The facts of a run.
const (
	RunStatus      RunFact = "status"       // success, or failure once a step that the step depends on failed
	RunFailedSteps RunFact = "failed_steps" // names of the steps that have failed by then, joined by commas
	RunStarted     RunFact = "started"      // when the step's container was made, in Unix seconds
)

// RunVariable is a variable whose value is a fact of the run.
type RunVariable struct {
	Name string
	Fact RunFact
}

// Setting is one value of a plugin's settings, or a part of one. It is a scalar
// unless List or Map is not nil.
type Setting struct {
	Position
	Name  string // "" for an item of a list
	Value Value
	JSON  bool // a List is JSON, whatever is in it
	Bare  bool // Value.Text is a JSON number, boolean or null and goes into JSON without quotes
	List  []Setting
	Map   []Setting
}

// SecretUse hands a secret to a step, as a file, a variable, or both.
type SecretUse struct {
	Position
	Name string
	File string // absolute path in the container; "" is no file
	Env  string // name of the variable; "" is no variable
}

// FailurePolicy says what a failed step does to the pipeline.
type FailurePolicy string

// The failure policies. The empty one means FailureFail.
const (
	FailureFail   FailurePolicy = "fail"
	FailureIgnore FailurePolicy = "ignore"
	FailureCancel FailurePolicy = "cancel" // it ends the others, as with FailFast
)
