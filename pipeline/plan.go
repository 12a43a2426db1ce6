package pipeline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/egress"
)

// Mode is what a plan is made for.
type Mode int

const (
	ForRun     Mode = iota // to run a pipeline
	ForPreview             // to show a pipeline: nothing runs, and *** stands for secrets that are not given
	ForSteps               // to run steps outside a pipeline: they get no CI and STEPEXEC… variables
	ForJob                 // as ForSteps, for steps that follow later: services run although no step needs them
)

// outsidePipeline reports whether the steps are not steps of a pipeline.
func (m Mode) outsidePipeline() bool { return m == ForSteps || m == ForJob }

// Inputs is what the command line, or a CI server, adds to a pipeline file.
type Inputs struct {
	Mode        Mode
	Dir         string            // absolute folder of the file: relative env files and mount sources start from it
	Workspace   string            // absolute folder on the host, mounted at Pipeline.Workspace; "" mounts none
	OwnFolder   bool              // the run makes a folder of its own as workspace, in place of Workspace
	Environment []string          // NAME=value; these override everything in the file
	EnvFiles    []string          // these override everything in the file, but not Environment; relative paths do not start from Dir
	Defaults    []string          // NAME=value; these override everything in the file, but not EnvFiles
	Secrets     map[string]string // values by name
	Only, Skip  []string          // names of steps; an empty Only means all steps
	WithNeeds   bool              // the steps that those of Only depend on run as well, unless Skip has them
	From        []string          // names of steps that a rerun begins with; they are only checked here
	Breakpoints []string          // names of steps at which somebody looks into the run; they are only checked here
	Pull        PullPolicy        // overrides that of the file unless ""
	Platform    string            // overrides that of the file unless "", like linux/arm64
	Timeout     time.Duration     // overrides that of the file if more than 0
	FailFast    bool              // as in the file
	Cell        Cell              // one of the pipeline's Cells; nil without a matrix
	Among       string            // name of the pipeline when several pipelines run together
	Facts       Facts             // facts that conditions compare with

	// Base returns the variables that a CI server gives a step or a service. Everything in
	// the file overrides them. nil: there are none.
	Base func(step string) []Variable

	// LookupEnv finds the variables that the file takes from the host. nil: the file may
	// take none, because whatever starts stepexec may have secrets in its variables.
	LookupEnv func(name string) (string, bool)

	// Open opens a file of the host that a key of the pipeline file names, for reading.
	// Files that the other fields of Inputs name are the caller's own and are not opened
	// with it. nil opens any file.
	Open func(path string) (*os.File, error)

	CollectJUnit []string // test reports of every step that names none, as TestReports.JUnit; nil: none

	Network string // network of the steps and services that name none; "" is host

	// NoNewPrivileges makes setuid programs without effect in steps that do not ask for them
	// by name, whatever the pipeline's default is.
	NoNewPrivileges bool

	// Egress is what the one who runs the pipeline allows it to reach. Lists of the file can
	// only narrow it. nil: as the file says.
	Egress *egress.Rules
}

// Plan is a pipeline with everything resolved.
type Plan struct {
	Name            string
	File            string // it was read from, for messages; "" for none
	WorkspaceSource string // on the host
	WorkspacePath   string // in the containers
	Timeout         time.Duration
	FailFast        bool
	StopOnFailure   bool
	RegistryConfigs [][]byte // docker config.json files with credentials for the images; their text is secret
	Cell            string   // which of several runs it is: its name among several pipelines, the cell of its matrix
	OwnWorkspace    bool     // what is written to the workspace is for this run only
	Steps, Services []PlannedStep
	LeftOut         []LeftOut // by their conditions
	Secrets         []string  // every value that was given and is not empty, used or not, for masking
	Dir             string    // absolute folder of the file, where relative paths of images start
	HostEnvironment []string  // names of the variables whose values the file took from the host, sorted
}

// LeftOut is a step that takes no part, because none of its conditions holds.
type LeftOut struct {
	Name, Image string
	File        string `json:",omitempty"` // it is included from; "" is the plan's
	Line        int    // in the file; 0: not known
	Reason      string // with the values seen
	Before      int    // how many of the planned steps come before it in the file
}

// PlannedStep is a step with everything resolved. Zero values mean none, or the
// image's own.
type PlannedStep struct {
	Name, Image, Platform string
	File                  string        `json:",omitempty"` // it is included from; "" is the plan's
	Line                  int           // in the file; 0: not known
	Pull                  PullPolicy    // "" is PullMissing
	Script                []byte        // nil when the step has no commands
	Shell                 []string      // argv in front of the script's path, like /bin/sh -e
	Entrypoint, Args      []string      // nil is the image's
	Env                   []string      // NAME=value, sorted, every name once
	FromRun               []RunVariable // none of them in Env
	SecretFiles           []SecretFile
	SecretEnv             map[string]string // those of Env whose value is a secret, to the name of that
	Authored              []string          // names in Env that the pipeline file chooses; settings of plugins are not among them
	Withheld              []string          // names of proxy variables that the policy keeps from the step, for a warning
	Directory             string            // absolute path in the container; "" is the image's
	SafeDirectory         bool              // git works in folders of any owner, such as the workspace
	User                  string            // "" is the image's
	Network               string            // "host", "none" or "private"
	Egress                egress.Rules      // what it may reach outside the run
	Mounts                []Mount
	DependsOn             []string // all of them names of planned steps
	Keep                  bool     // its root file system stays after the run
	Detach                bool
	Serves                bool // with Detach: a service in the file that it comes from
	IgnoreFailure         bool
	FailsFast             bool  // a failure of it ends the others, as with FailFast of the plan
	EndsRun               []int // exit codes with which it has succeeded and no further step begins
	RunOn                 RunOn
	Retry                 Retry
	Exports               bool   // it may hand on variables, in the file ExportsPath
	Masks                 bool   // it may have values masked, in the file MaskPath
	Reason                string // which conditions were met; "" without any
	Timeout               time.Duration
	Ready                 *Ready   // of a service or a detached step; nil: by the healthcheck that a service's image may have
	Needs                 []string // services that must be ready before the step starts
	Stdin                 string   // path of a file, or StdinInherited; "" is /dev/null
	Output                string   // path of a file, or OutputNone; "" is the log
	OutputLimit           int64    // bytes that the log takes; 0: the machine's limit
	Owner                 *Owner   // nil, or with UID and GID
	Artifacts             []Artifact
	Caches                []KeyedCache // that Mounts of the type MountKeyed have, by their paths
	Reports               *TestReports // nil: none

	Names    Names
	Limits   Limits
	Security Security
	Advanced Advanced
}

// SecretFile is a secret as a file in the container.
type SecretFile struct {
	Name  string // of the secret
	Path  string // directly below SecretDirectory
	Value []byte
}

// Plan resolves the pipeline. Steps in a file without any depends_on depend each
// on the one before; in a file with one, those without start at once. A step that
// Only, Skip or its conditions drop hands its own dependencies on to those that
// depend on it.
//
// The error is an [Errors]: names that Only, Skip or a dependency does not find,
// secrets and variables of the host that are used but not given, files that cannot
// be read, and variables that no process can be given.
func (p *Pipeline) Plan(in Inputs) (*Plan, error) {
	pl := &planner{pipeline: p, in: in, workspace: cmp.Or(p.Workspace, DefaultWorkspace), taken: map[string]bool{}, isStep: map[string]bool{}}
	for i := range p.Steps {
		pl.isStep[p.Steps[i].Name] = true
	}
	pl.after = slices.Concat(pl.checked(in.Defaults, Position{Key: "--env"}), pl.files(in.EnvFiles, Position{Key: "--env-file"}, ""), pl.checked(in.Environment, Position{Key: "--env"}))
	pl.in.Facts.Env, pl.in.Facts.Matrix = byName(pl.after), in.Cell.values()
	pl.inFiles = pl.files(p.EnvFiles, p.envFilesAt, in.Dir)
	pl.before = slices.Concat(pl.inFiles, pl.variables(p.Environment))
	selected := pl.choose()
	for _, pattern := range in.CollectJUnit {
		if what, hint := unaffordable(pattern); what != "" {
			pl.fail(Position{Key: "--collect-junit"}, what, hint, nil)
		}
	}

	plan := &Plan{
		Name:            pl.name(),
		File:            p.File,
		WorkspaceSource: in.Workspace,
		WorkspacePath:   pl.workspace,
		Timeout:         p.Timeout,
		FailFast:        p.FailFast || in.FailFast,
		StopOnFailure:   p.StopOnFailure,
		RegistryConfigs: pl.registryConfigs(),
		Cell:            in.label(),
		OwnWorkspace:    in.label() != "",
		Secrets:         secretValues(in.Secrets),
		LeftOut:         pl.leftOut,
		Dir:             in.Dir,
	}
	if in.Timeout > 0 {
		plan.Timeout = in.Timeout
	}
	for i := range p.Services {
		if len(selected) == 0 && in.Mode != ForJob {
			break // nobody needs them
		}
		plan.Services = append(plan.Services, pl.step(&p.Services[i]))
	}
	services := p.serviceNeeds()
	plan.Steps = slices.Grow(plan.Steps, len(selected))
	for _, s := range selected {
		step := pl.step(&p.Steps[s.index])
		beside := step.Detach && step.Script == nil // as a service, it has the image's
		if step.Directory == "" && (in.Workspace != "" || in.OwnFolder) && !beside {
			step.Directory = pl.workspace
		}
		step.Exports = pl.exports(&p.Steps[s.index])
		step.DependsOn, step.RunOn, step.Reason = s.dependsOn, s.decision.On, s.decision.Reason
		step.Needs = services.of(&p.Steps[s.index])
		plan.Steps = append(plan.Steps, step)
	}
	var all []placed
	for i := range plan.Services {
		all = append(all, placed{&plan.Services[i], &p.Services[i], true})
	}
	for i, s := range selected {
		all = append(all, placed{&plan.Steps[i], &p.Steps[s.index], false})
	}
	pl.reachable(all)
	pl.portsApart(all)
	pl.ownSysctls(all)
	if err := pl.errs.result(); err != nil {
		return nil, err
	}
	plan.HostEnvironment = slices.Sorted(maps.Keys(pl.taken))
	return plan, nil
}

// label says which of several runs it is, in words.
func (in *Inputs) label() string {
	if in.Among == "" || len(in.Cell) == 0 {
		return in.Among + in.Cell.String()
	}
	return in.Among + ": " + in.Cell.String()
}

func secretValues(secrets map[string]string) []string {
	var values []string
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if secrets[name] != "" {
			values = append(values, secrets[name])
		}
	}
	return values
}

// planner is the work on one plan.
type planner struct {
	pipeline      *Pipeline
	in            Inputs
	workspace     string
	isStep        map[string]bool // names of steps, as opposed to services
	leftOut       []LeftOut
	before, after []string        // environment that all steps share, below and above their own
	inFiles       []string        // variables of the pipeline's env files
	taken         map[string]bool // variables of the host
	errs          Errors
}

// fail reports something at a position. Keys with dashes are flags, which have
// no file.
func (pl *planner) fail(at Position, message, hint string, cause error) {
	e := &Error{File: cmp.Or(at.File, pl.pipeline.File), Line: at.Line, Column: at.Column, Key: at.Key, Message: message, Hint: hint, cause: cause}
	if strings.HasPrefix(at.Key, "--") {
		e.File = ""
	}
	pl.errs.add(e)
}

// addError adds an error that lacks the name of the file only.
func (pl *planner) addError(err error) {
	var e *Error
	if errors.As(err, &e) {
		pl.fail(Position{Line: e.Line, Column: e.Column, Key: e.Key, File: e.File}, e.Message, e.Hint, e.cause)
	}
}

// name of the pipeline: that in the file, or that of the file.
func (pl *planner) name() string {
	file := filepath.Base(pl.pipeline.File)
	return cmp.Or(pl.pipeline.Name, strings.TrimSuffix(file, filepath.Ext(file)))
}

// step resolves what steps and services have in common.
func (pl *planner) step(s *Step) PlannedStep {
	step := PlannedStep{
		Name:          s.Name,
		File:          s.File,
		Line:          s.Position.Line,
		Image:         pl.image(s),
		Platform:      cmp.Or(pl.in.Platform, s.Platform),
		Pull:          cmp.Or(pl.in.Pull, s.Pull),
		Entrypoint:    pl.substituteAll(s.Entrypoint, s.Position),
		Args:          pl.substituteAll(s.Args, s.Position),
		SecretFiles:   pl.secretFiles(s),
		Directory:     pl.directory(s.Directory),
		SafeDirectory: pl.in.Workspace != "" || pl.in.OwnFolder || pl.pipeline.SafeDirectory,
		User:          s.User,
		Network:       cmp.Or(s.Network, pl.in.Network, "host"),
		Mounts:        pl.mounts(s),
		Keep:          s.Keep,
		Detach:        s.Detach,
		Serves:        s.Serves,
		IgnoreFailure: s.Failure == FailureIgnore,
		FailsFast:     s.Failure == FailureCancel,
		EndsRun:       s.EndsRun,
		RunOn:         RunOn{Success: true},
		Retry:         s.Retry,
		Timeout:       s.Timeout,
		Ready:         s.Ready,
		Stdin:         s.Stdin,
		Output:        s.Output,
		OutputLimit:   s.OutputLimit,
		Artifacts:     s.Artifacts,
		Caches:        s.Caches,
		Reports:       pl.reports(s),
		Masks:         pl.masks(s),
		Names:         s.Names,
		Limits:        s.Limits,
		Security:      s.Security,
		Advanced:      s.Advanced,
	}
	if pl.pipeline.NewPrivileges && !pl.in.NoNewPrivileges && !s.NoNewPrivileges {
		step.Security.AllowNewPrivileges = true
	}
	fromFiles := pl.files(s.EnvFiles, s.envFilesAt, pl.in.Dir)
	pl.egress(&step, s)
	step.Env, step.FromRun = fromRun(pl.environment(s, fromFiles))
	step.SecretEnv = pl.secretEnvironment(s, step.Env)
	pl.checkCacheKeys(&step, s)
	step.Authored = pl.authored(s, fromFiles)
	pl.hostFiles(&step, s)
	if len(s.Commands) > 0 {
		step.Shell = s.Shell
		if len(step.Shell) == 0 {
			step.Shell = withOptions(defaultShell)
		}
		step.Script = script(step.Shell, s.Commands)
	}
	return step
}

func (pl *planner) directory(dir string) string {
	if dir == "" || path.IsAbs(dir) {
		return dir
	}
	return path.Join(pl.workspace, dir)
}

// mounts puts the workspace first, or what the step mounts in its place.
func (pl *planner) mounts(s *Step) []Mount {
	var mounts []Mount
	switch {
	case pl.in.OwnFolder:
		mounts = append(mounts, Mount{Type: MountVolume, Source: WorkspaceVolume, Destination: pl.workspace, Options: []string{"rbind", "rw"}})
	case pl.in.Workspace != "":
		mounts = append(mounts, Mount{Type: "bind", Source: pl.in.Workspace, Destination: pl.workspace, Options: []string{"rbind", "rw"}})
	}
	for _, m := range s.Mounts {
		m = pl.named(m)
		if m.Type == "bind" && !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(pl.in.Dir, m.Source)
		}
		if len(mounts) > 0 && m.Destination == mounts[0].Destination {
			mounts[0] = m
			continue
		}
		mounts = append(mounts, m)
	}
	// A mount that is below another's destination comes after it, or would be hidden.
	slices.SortStableFunc(mounts, func(a, b Mount) int { return cmp.Compare(depth(a), depth(b)) })
	return mounts
}

func depth(m Mount) int { return strings.Count(m.Destination, "/") }

// registryConfigs are the values of the pull secrets.
func (pl *planner) registryConfigs() [][]byte {
	var configs [][]byte
	for _, use := range pl.pipeline.PullSecrets {
		text := pl.secret(use.Name, use.Position)
		if pl.in.Mode == ForPreview && text == unknownSecret {
			continue
		}
		if !json.Valid([]byte(text)) {
			pl.fail(use.Position, fmt.Sprintf("secret %q is not a docker config.json", use.Name), "docker login writes one", nil)
			continue
		}
		configs = append(configs, []byte(text))
	}
	return configs
}

func (pl *planner) secretFiles(s *Step) []SecretFile {
	var files []SecretFile
	for _, use := range s.Secrets {
		if use.File != "" {
			files = append(files, SecretFile{use.Name, use.File, []byte(pl.secret(use.Name, use.Position))})
		}
	}
	return files
}
