package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/pull"
)

// policyFlag says what a pipeline may ask for.
type policyFlag struct{ name string }

func (f *policyFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "policy", "trusted", "what the pipeline may ask for: trusted, untrusted, or a `FILE`")
}

// load returns the policy. A file of that name goes by ./trusted.
func (f *policyFlag) load() (*policy.Policy, error) {
	switch f.name {
	case "trusted":
		return policy.Trusted(), nil
	case "untrusted":
		return policy.Untrusted(), nil
	}
	data, err := os.ReadFile(f.name)
	if err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	return policy.Parse(f.name, data)
}

// A guardedPlan makes a plan of a pipeline under a policy.
type guardedPlan struct {
	policy   *policy.Policy
	pipeline *pipeline.Pipeline
	in       pipeline.Inputs
	asked    map[string]bool // variables of stepexec's own environment
}

// planUnder plans the pipeline and checks every step of the plan. Mount sources are
// replaced by the paths that were checked; the returned roots are what they must not
// leave when they are mounted.
func planUnder(rules *policy.Policy, p *pipeline.Pipeline, in pipeline.Inputs) (*pipeline.Plan, []string, error) {
	g := &guardedPlan{policy: rules, pipeline: p, in: in, asked: map[string]bool{}}
	if in.LookupEnv != nil {
		g.in.LookupEnv = func(name string) (string, bool) {
			g.asked[name] = true
			return in.LookupEnv(name)
		}
	}
	g.in.MayRead = func(path string) error {
		_, err := rules.HostPath(in.Workspace, path, false)
		if err != nil {
			return fmt.Errorf("%s is not allowed by the policy: %w", path, err)
		}
		return nil
	}
	plan, err := p.Plan(g.in)
	if err != nil {
		return nil, nil, err
	}
	roots, err := rules.Roots()
	if err != nil {
		return nil, nil, err
	}
	return plan, roots, g.check(plan)
}

func (g *guardedPlan) check(plan *pipeline.Plan) error {
	var denied []error
	for _, steps := range [][]pipeline.PlannedStep{plan.Services, plan.Steps} {
		for i := range steps {
			denied = append(denied, g.checkStep(plan, &steps[i]))
		}
	}
	return errors.Join(denied...)
}

func (g *guardedPlan) checkStep(plan *pipeline.Plan, step *pipeline.PlannedStep) error {
	s := step.Security
	request := policy.Request{
		Step: step.Name, Image: step.Image, Workspace: plan.WorkspaceSource,
		Privileged: s.Privileged, Overrides: g.overrides(plan, step), Network: step.Network, Paths: g.paths(step),
		Devices: slices.Clone(s.CDI), CapAdd: s.CapAdd, Seccomp: s.Seccomp, AppArmor: s.AppArmor,
		AllowNewPrivileges: s.AllowNewPrivileges,
		Spec:               step.Advanced.Spec != nil || step.Advanced.SpecPatch != nil,
		Namespaces:         slices.Collect(maps.Values(step.Advanced.Namespaces)),
		CgroupParent:       step.Advanced.CgroupParent,
		Keep:               step.Keep,
		HostEnvironment:    slices.Sorted(maps.Keys(g.asked)),
	}
	for _, device := range s.Devices {
		request.Devices = append(request.Devices, device.Source)
	}
	if err := g.policy.Check(request); err != nil {
		return err
	}
	return g.resolve(plan, step)
}

// resolve replaces the sources of mounts by what the policy looked at.
func (g *guardedPlan) resolve(plan *pipeline.Plan, step *pipeline.PlannedStep) error {
	for i, m := range step.Mounts {
		if m.Type != "bind" {
			continue
		}
		path, err := g.policy.HostPath(plan.WorkspaceSource, m.Source, !isReadOnly(m))
		if err != nil {
			return err
		}
		step.Mounts[i].Source = path
	}
	return nil
}

// paths are those of the host that the step uses. Env files and raw specifications
// were asked for when they were read.
func (g *guardedPlan) paths(step *pipeline.PlannedStep) []policy.Path {
	var paths []policy.Path
	add := func(key, path string, write bool) {
		if path != "" {
			paths = append(paths, policy.Path{Key: key, Path: path, Write: write})
		}
	}
	for i, m := range step.Mounts {
		if m.Type == "bind" {
			add(fmt.Sprintf("mounts[%d]", i), m.Source, !isReadOnly(m))
		}
	}
	image, err := pull.ParseReference(step.Image)
	if err == nil && image.IsLocal() {
		path := image.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(g.in.Dir, path)
		}
		add("image", path, false)
	}
	if strings.Contains(step.Security.Seccomp, "/") {
		add("seccomp", step.Security.Seccomp, false)
	}
	if step.Stdin != pipeline.StdinInherited {
		add("stdin", step.Stdin, false)
	}
	if step.Output != pipeline.OutputNone {
		add("output", step.Output, true)
	}
	add("pid_file", step.Advanced.PidFile, true)
	return paths
}

func isReadOnly(m pipeline.Mount) bool { return slices.Contains(m.Options, "ro") }

// overrides are the keys by which the pipeline decides what the step's image runs.
// What earlier steps hand on as variables is none either: privileged steps get none of
// it. settings are none: their variables begin with PLUGIN_, and they are what plugins are
// made to read.
func (g *guardedPlan) overrides(plan *pipeline.Plan, step *pipeline.PlannedStep) []string {
	var keys []string
	add := func(key string, given bool) {
		if given {
			keys = append(keys, key)
		}
	}
	p := g.pipeline
	add("workspace", p.Workspace != "" && !slices.ContainsFunc(usualWorkspaces, func(usual string) bool { return isInside(p.Workspace, usual) }))
	add("environment of the pipeline", len(p.Environment)+len(p.EnvFiles) > 0)
	add("matrix", len(p.Matrix.Axes)+len(p.Matrix.Include) > 0) // its axes are variables
	for _, s := range slices.Concat(p.Services, p.Steps) {
		if s.Name != step.Name {
			continue
		}
		add("commands", len(s.Commands) > 0)
		add("entrypoint", s.Entrypoint != nil)
		add("args", s.Args != nil)
		add("environment", len(s.Environment)+len(s.EnvFiles) > 0)
		add("secrets", len(s.Secrets) > 0)
		add("directory", path.IsAbs(s.Directory) && !isInside(s.Directory, p.Workspace))
		add("user", s.User != "")
		add("mounts", len(s.Mounts) > 0)
	}
	return keys
}

// usualWorkspaces are where CI systems have the workspace. Elsewhere it could hide the
// programs of an image behind the pipeline's own.
var usualWorkspaces = []string{pipeline.DefaultWorkspace, "/woodpecker", "/drone/src"}

func isInside(dir, of string) bool { return of != "" && (dir == of || strings.HasPrefix(dir, of+"/")) }
