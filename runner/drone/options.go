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

// Options say for which server a runner works, and what it takes.
type Options struct {
	Server   string // address, such as https://drone.example.com
	Secret   string // of the server
	TLS      *tls.Config
	Name     string // of the runner, unique at the server
	Capacity int    // stages at once

	OS, Arch, Variant, Kernel string
	Labels                    map[string]string

	// Only these may use the runner; empty is all. Others get an error.
	Repos, Events []string
	TrustedOnly   bool

	Secrets          map[string]string // for every repository, below its own
	Environ          []string          // NAME=value for every step
	Clone            string            // image; "" is DefaultClone
	NetrcCloneOnly   bool
	PrivilegedImages []string // beside those that Drone knows
	Volumes          []pipeline.Mount
	Limits           pipeline.Limits
	Network          string // of steps that name none
	RegistryConfig   []byte // docker config.json for images; nil is the user's own

	HealthAddress string         // for /healthz and /metrics; "" is nowhere
	Listening     func(net.Addr) // is told where that is; nil: nobody
	Execute       runner.Execute
	Say           func(line string) // for the runner's own log
	Kill          <-chan struct{}   // closed: everything ends at once
	RetryPause    time.Duration     // before a call is made again; 0 is 10 s
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
