package drone

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
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
	Outage          time.Duration     // time for which answers that are not in the protocol, such as those of a proxy, count as the server's absence; 0: DefaultOutage
	AnswerTime      time.Duration     // time for an answer, polls included, before the call is made again; 0: 90 s
}

// droneArchitectures are Drone's words for what machines call themselves.
var droneArchitectures = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "armv6l": "arm", "armv7l": "arm", "i386": "386", "i686": "386"}

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
	case o.OS != "linux":
		return fmt.Errorf("pipelines for %s: this runner has Linux alone (check DRONE_PLATFORM_OS)", o.OS)
	case droneArchitectures[o.Arch] != "":
		return fmt.Errorf("architecture %s: no pipeline asks for it (Drone calls it %s; check DRONE_PLATFORM_ARCH)", o.Arch, droneArchitectures[o.Arch])
	}
	return errors.Join(o.checkAddress(), o.checkLimits())
}

// checkAddress finds what no connection can lead to.
func (o *Options) checkAddress() error {
	address, err := url.Parse(o.Server)
	if err != nil {
		return fmt.Errorf("server: %w (check DRONE_RPC_HOST)", err)
	}
	if port := address.Port(); address.Hostname() == "" || strings.HasSuffix(address.Host, ":") || port != "" && !isPort(port) {
		return fmt.Errorf("server %s: must be HOST or HOST:PORT (check DRONE_RPC_HOST)", o.Server)
	}
	return nil
}

func isPort(text string) bool {
	number, err := strconv.ParseUint(text, 10, 16)
	return err == nil && number > 0
}

// checkLimits finds patterns that nothing fits, with which the runner would refuse every pipeline.
func (o *Options) checkLimits() error {
	for _, pattern := range o.Repos {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("repositories %q: not a pattern such as octocat/* (check DRONE_LIMIT_REPOS)", pattern)
		}
	}
	known := []string{"push", "pull_request", "tag", "promote", "rollback", "cron", "custom"}
	for _, pattern := range o.Events {
		fits := func(event string) bool {
			ok, err := path.Match(pattern, event)
			return ok && err == nil
		}
		if !slices.ContainsFunc(known, fits) {
			return fmt.Errorf("event %q: Drone has %s (check DRONE_LIMIT_EVENTS)", pattern, strings.Join(known, ", "))
		}
	}
	if _, err := policy.FromServer(policy.Trust{PrivilegedImages: o.PrivilegedImages}); err != nil {
		return fmt.Errorf("privileged images: %w (check DRONE_RUNNER_PRIVILEGED_IMAGES)", err)
	}
	return nil
}
