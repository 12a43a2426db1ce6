package drone

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/runner"
)

// DefaultClone is the image of the clone step.
const DefaultClone = "drone/git:latest"

// Options say for which server a runner works, and which pipelines it takes.
type Options struct {
	Server   string // address, such as https://drone.example.com
	Secret   string // that the server shares with its runners
	TLS      *tls.Config
	Name     string // of the runner, unique at the server
	Capacity int    // stages that may run at once

	OS, Arch, Variant, Kernel string
	Labels                    map[string]string

	// Patterns of the repositories and events that may use the runner; empty: all of them.
	// Pipelines of others end with an error.
	Repos, Events []string
	TrustedOnly   bool // only trusted repositories may use the runner

	Secrets          map[string]string // for every repository; a repository's own secret of the same name wins
	Environ          []string          // NAME=value for every step
	Proxies          []string          // NAME=value of the runner's own proxies, for every step and for privileged plugins
	Clone            string            // image of the clone step; "": DefaultClone
	NetrcCloneOnly   bool              // only the clone step gets the credentials of the git server
	PrivilegedImages []string          // plugins that are privileged by themselves, beside Drone's own list
	Volumes          []pipeline.Mount  // for every step
	Devices          []pipeline.Device // for every step
	SecretPlugin     Plugin            // for secrets of the kind secret with get
	EnvironPlugin    Plugin            // for variables of every step
	RegistryPlugin   Plugin            // for logins at registries
	Limits           pipeline.Limits   // of steps whose file has none
	Network          string            // of steps that name none
	RegistryConfig   []byte            // docker config.json for images; nil: the user's own

	HealthByDefault bool           // nobody has asked for HealthAddress: a warning where it cannot be had
	HealthAddress   string         // for /healthz and /metrics; "": none
	Listening       func(net.Addr) // receives the address of HealthAddress; nil: nobody
	Execute         runner.Execute
	Say             func(line string) // writes a line to the runner's own log
	Kill            <-chan struct{}   // closed: everything ends at once
	RetryPause      time.Duration     // longest pause before a call is made again; 0: 10 s
	State           string            // folder below which results are kept until the server has them; "": they wait in memory only
	LogPatience     time.Duration     // time for which the log of a step is sent again while the server answers other calls; 0: DefaultLogPatience
	Outage          time.Duration     // time for which refusals of a server that has answered before count as its absence; 0: DefaultOutage
}

func (o *Options) check() error {
	switch {
	case o.Server == "":
		return errors.New("no server (set DRONE_RPC_HOST)")
	case o.Secret == "":
		return errors.New("no secret (set DRONE_RPC_SECRET)")
	case o.Name == "":
		return errors.New("the runner has no name (set DRONE_RUNNER_NAME)")
	case o.Capacity < 1:
		return errors.New("the runner takes nothing (set DRONE_RUNNER_CAPACITY to 1 or more)")
	}
	return nil
}
