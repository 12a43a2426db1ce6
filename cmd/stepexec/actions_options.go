package main

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/runner/actions"
)

// readCreateOptions parses the options that a workflow gives a container, which are docker's flags:
// those of `stepexec step`, and some about docker's own way of running services.
func readCreateOptions(words []string) (actions.CreateOptions, error) {
	var (
		o      actions.CreateOptions
		keys   stepKeys
		env    []string
		health healthFlags
	)
	flags := pflag.NewFlagSet("options", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	keys.add(flags)
	flags.StringArrayVarP(&env, "env", "e", nil, "")
	flags.StringArrayVar(&o.EnvFiles, "env-file", nil, "") // opened later, where the policy allows it
	flags.Func("entrypoint", "", func(program string) error {
		o.Command = &program
		return nil
	})
	health.add(flags)
	flags.Bool("rm", true, "")
	flags.BoolP("detach", "d", true, "")
	keys.addForeign(flags)
	if err := flags.Parse(words); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not an option", flags.Arg(0))
	}
	var err error
	if o.Env, err = optionVariables(env); err != nil {
		return o, err
	}
	if o.Ready, err = health.ready(); err != nil {
		return o, err
	}
	for _, line := range keys.notes {
		o.Warnings = append(o.Warnings, "options: "+line)
	}
	for _, key := range []string{"stdin", "tty", "output", "spec"} { // nobody sits at these containers
		keys.unset(key)
	}
	if o.Ports, err = optionPorts(&keys); err != nil {
		return o, err
	}
	if o.Volumes, err = optionVolumes(&keys); err != nil {
		return o, err
	}
	o.Flags, o.Aliases = aliases(&keys)
	return o, nil
}

// optionVariables parses the values of --env. A variable without a value refers to the runner's
// own, which the policy must allow.
func optionVariables(given []string) ([]pipeline.Variable, error) {
	var all []pipeline.Variable
	for _, item := range given {
		name, text, hasValue := strings.Cut(item, "=")
		if name == "" {
			return nil, errors.New("--env: the name is missing in front of the =") // the value may be a secret
		}
		all = append(all, pipeline.Variable{Name: name, Value: pipeline.Value{Text: text, FromHost: !hasValue}})
	}
	return all, nil
}

// optionPorts returns the published ports: the network of the job decides how they are used.
func optionPorts(keys *stepKeys) (ports []pipeline.Port, err error) {
	for _, flag := range keys.given {
		if flag.Key != "ports" {
			continue
		}
		for _, text := range flag.Value.([]string) {
			more, err := pipeline.ParsePorts(text)
			if err != nil {
				return nil, fmt.Errorf("--publish %s: %w", text, err)
			}
			ports = append(ports, more...)
		}
	}
	keys.unset("ports")
	return ports, nil
}

// optionVolumes returns the volumes with a name in place of a host path, and those without either.
func optionVolumes(keys *stepKeys) (volumes []actions.Volume, err error) {
	var paths []string
	for _, flag := range keys.given {
		switch flag.Key {
		case "cache": // the meaning of --volume NAME:PATH in stepexec step
			for _, text := range flag.Value.([]string) {
				name, place, _ := strings.Cut(text, ":")
				place, modes, _ := strings.Cut(place, ":")
				volumes = append(volumes, actions.Volume{Source: name, Target: place, ReadOnly: hasMode(modes, "ro"), NoCopy: !hasMode(modes, "fill")})
			}
		case "volumes":
			for _, text := range flag.Value.([]string) {
				m, err := pipeline.ParseVolume(text)
				switch {
				case err != nil || filepath.IsAbs(m.Source):
					paths = append(paths, text) // package pipeline reports the error
				case m.Source == "":
					volumes = append(volumes, actions.Volume{Target: m.Destination})
				default:
					return nil, fmt.Errorf("--volume %s: %q is a relative path, and a container has no directory that it is relative to (write ${{ github.workspace }}/%s, or a name without / for a volume)", text, m.Source, strings.TrimPrefix(path.Clean(m.Source), "../"))
				}
			}
		}
	}
	keys.unset("cache")
	keys.unset("volumes")
	if len(paths) > 0 {
		keys.set("--volume", "volumes", paths)
	}
	return volumes, nil
}

// aliases treats the container's name as one more host name.
func aliases(keys *stepKeys) (rest []pipeline.Flag, names []string) {
	for _, flag := range keys.given {
		if name, ok := flag.Value.(string); ok && flag.Key == "name" {
			names = append(names, name)
		}
	}
	keys.unset("name")
	names = slices.DeleteFunc(names, func(name string) bool { return !pipeline.IsPeerName(name) })
	return keys.given, names
}

// healthFlags are docker's flags of a health check.
type healthFlags struct {
	command                                       string
	none                                          bool
	interval, timeout, startPeriod, startInterval time.Duration
	retries                                       int
}

func (h *healthFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&h.command, "health-cmd", "", "")
	flags.BoolVar(&h.none, "no-healthcheck", false, "")
	flags.DurationVar(&h.interval, "health-interval", 0, "")
	flags.DurationVar(&h.timeout, "health-timeout", 0, "")
	flags.DurationVar(&h.startPeriod, "health-start-period", 0, "")
	flags.DurationVar(&h.startInterval, "health-start-interval", 0, "")
	flags.IntVar(&h.retries, "health-retries", 0, "")
}

// ready returns when a service with these flags is ready, or nil if there are no such flags. For
// missing flags, docker's own defaults and the image's healthcheck apply.
func (h *healthFlags) ready() (*pipeline.Ready, error) {
	numbers := pipeline.Health{Interval: h.interval, Timeout: h.timeout, StartPeriod: h.startPeriod, StartInterval: h.startInterval, Retries: h.retries}
	switch {
	case h.none:
		return &pipeline.Ready{None: true}, nil
	case min(h.interval, h.timeout, h.startPeriod, h.startInterval) < 0 || h.retries < 0:
		return nil, errors.New("times and numbers of a health check must not be negative")
	case h.command != "":
		return &pipeline.Ready{Exec: []string{"/bin/sh", "-c", h.command}, Health: &numbers}, nil
	case numbers != pipeline.Health{}:
		return &pipeline.Ready{Health: &numbers}, nil
	}
	return nil, nil
}
