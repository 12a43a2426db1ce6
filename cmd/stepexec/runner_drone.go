package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/runner/drone"
)

func newRunnerDrone(kill <-chan struct{}) *cobra.Command {
	bench := &workbench{say: sayWithTime}
	cmd := &cobra.Command{
		Use:   "drone",
		Short: "Work for a Drone server, as its runner",
		Long: `Work for a Drone server, as a runner for pipelines of type docker. The variables of
Drone's own runner configure it (docs/runner-drone.md lists all of them):

  DRONE_RPC_HOST         HOST[:PORT] of the server
  DRONE_RPC_PROTO        http or https (http)
  DRONE_RPC_SECRET       of the server; DRONE_RPC_SECRET_FILE is a file that holds it
  DRONE_RUNNER_NAME      name of the runner, unique at the server (that of the machine)
  DRONE_RUNNER_CAPACITY  pipelines at once (2)
  DRONE_RUNNER_LABELS    NAME:VALUE,... that node in a pipeline must equal
  DRONE_LIMIT_REPOS, DRONE_LIMIT_EVENTS, DRONE_LIMIT_TRUSTED
                         whose pipelines it runs
  DRONE_HTTP_BIND        where /healthz and /metrics are, or none (:3000)`,
		Example: "  DRONE_RPC_HOST=drone.example.com DRONE_RPC_PROTO=https DRONE_RPC_SECRET=... stepexec runner drone",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDrone(cmd.Context(), bench, kill)
		},
	}
	bench.add(cmd.Flags(), "what the server trusts the repository with", pipeline.PullMissing)
	return cmd
}

func runDrone(ctx context.Context, bench *workbench, kill <-chan struct{}) error {
	e := &environ{}
	options := e.droneOptions()
	if steps := e.number(0, "DRONE_RUNNER_MAX_PROCS"); steps > 0 {
		bench.slots = make(chan struct{}, min(steps, 1<<16))
	}
	err := e.err()
	if err != nil {
		return err
	}
	e.warnUnused(bench.say, "DRONE_", "docs/runner-drone.md")
	bench.tracer = newTracer(bench.say)
	defer bench.tracer.Close(kill)
	if options.Execute, err = bench.open(ctx, policy.Drone); err != nil {
		return err
	}
	options.State, options.Outage = bench.root, bench.outage
	options.Network, options.Say, options.Kill = bench.network, bench.say, kill
	stop := context.AfterFunc(ctx, func() { bench.say("takes no more work; what runs comes to its end (interrupt again to cancel it)") })
	defer stop()
	return drone.Run(ctx, options)
}

// droneOptions returns the options that the environment sets.
func (e *environ) droneOptions() drone.Options {
	e.older = olderDroneNames()
	host, _ := os.Hostname()
	o := drone.Options{
		Secret:   e.secret("DRONE_RPC_SECRET"),
		Name:     cmp.Or(e.text("DRONE_RUNNER_NAME"), host),
		Capacity: e.count(2, "DRONE_RUNNER_CAPACITY"),
		OS:       cmp.Or(e.text("DRONE_PLATFORM_OS"), runtime.GOOS), Arch: cmp.Or(e.text("DRONE_PLATFORM_ARCH"), runtime.GOARCH),
		Variant: e.text("DRONE_PLATFORM_VARIANT"), Kernel: e.text("DRONE_PLATFORM_KERNEL"),
		Labels: e.colonPairs("DRONE_RUNNER_LABELS"),
		Repos:  e.list("DRONE_LIMIT_REPOS"), Events: e.list("DRONE_LIMIT_EVENTS"), TrustedOnly: e.flag("DRONE_LIMIT_TRUSTED", false),
		Secrets: e.colonPairs("DRONE_RUNNER_SECRETS"),
		Clone:   e.text("DRONE_RUNNER_CLONE_IMAGE"), NetrcCloneOnly: e.flag("DRONE_NETRC_CLONE_ONLY", false),
		PrivilegedImages: e.list("DRONE_RUNNER_PRIVILEGED_IMAGES"),
		Volumes:          e.droneVolumes("DRONE_RUNNER_VOLUMES"),
		Devices:          e.droneDevices("DRONE_RUNNER_DEVICES"),
		Limits: pipeline.Limits{
			Memory: e.number(0, "DRONE_MEMORY_LIMIT"), MemorySwap: e.number(0, "DRONE_MEMORY_SWAP_LIMIT"),
			CPUQuota: e.number(0, "DRONE_CPU_QUOTA"), CPUPeriod: e.number(0, "DRONE_CPU_PERIOD"),
			CPUShares: e.number(0, "DRONE_CPU_SHARES"), CpusetCPUs: e.text("DRONE_CPU_SET"), ShmSize: e.number(0, "DRONE_SHM_SIZE"),
		},
		HealthAddress: e.text("DRONE_HTTP_BIND"),
	}
	o.SecretPlugin, o.EnvironPlugin, o.RegistryPlugin = e.dronePlugin("SECRET"), e.dronePlugin("ENV"), e.dronePlugin("REGISTRY")
	switch o.HealthAddress {
	case "":
		o.HealthAddress, o.HealthByDefault = defaultHealth, true
	case "none":
		o.HealthAddress = ""
	}
	o.Environ = e.envFile("DRONE_RUNNER_ENV_FILE")
	if o.Limits.MemorySwap > 0 && o.Limits.Memory == 0 {
		e.fail("DRONE_MEMORY_SWAP_LIMIT", e.text("DRONE_MEMORY_SWAP_LIMIT"), "of use without DRONE_MEMORY_LIMIT")
	}
	for name, value := range e.colonPairs("DRONE_RUNNER_ENVIRON") {
		o.Environ = append(o.Environ, name+"="+value)
	}
	o.Proxies = proxies()
	proto := cmp.Or(e.text("DRONE_RPC_PROTO"), "http")
	if proto != "http" && proto != "https" {
		e.fail("DRONE_RPC_PROTO", proto, "http or https")
	}
	if server := e.text("DRONE_RPC_HOST"); strings.Contains(server, "://") {
		e.fail("DRONE_RPC_HOST", server, "HOST or HOST:PORT without a scheme (DRONE_RPC_PROTO says http or https)")
	} else if server != "" {
		o.Server = proto + "://" + server
	}
	if e.flag("DRONE_RPC_SKIP_VERIFY", false) {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	}
	if file := e.text("DRONE_DOCKER_CONFIG"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			e.failed = append(e.failed, fmt.Errorf("$DRONE_DOCKER_CONFIG: %w", err))
		}
		o.RegistryConfig = data
	}
	return o
}

// olderDroneNames are the names that Drone's runner still reads for those of its first versions.
func olderDroneNames() map[string][]string {
	return map[string][]string{
		"DRONE_RUNNER_NAME":                 {"DRONE_MACHINE"},
		"DRONE_PLATFORM_OS":                 {"DRONE_RUNNER_OS"},
		"DRONE_PLATFORM_ARCH":               {"DRONE_RUNNER_ARCH"},
		"DRONE_PLATFORM_KERNEL":             {"DRONE_RUNNER_KERNEL"},
		"DRONE_PLATFORM_VARIANT":            {"DRONE_RUNNER_VARIANT"},
		"DRONE_MEMORY_LIMIT":                {"DRONE_LIMIT_MEM"},
		"DRONE_MEMORY_SWAP_LIMIT":           {"DRONE_LIMIT_MEM_SWAP"},
		"DRONE_CPU_QUOTA":                   {"DRONE_LIMIT_CPU_QUOTA"},
		"DRONE_CPU_SHARES":                  {"DRONE_LIMIT_CPU_SHARES"},
		"DRONE_CPU_SET":                     {"DRONE_LIMIT_CPU_SET"},
		"DRONE_HTTP_BIND":                   {"DRONE_SERVER_PORT"},
		"DRONE_REGISTRY_PLUGIN_ENDPOINT":    {"DRONE_REGISTRY_ENDPOINT"},
		"DRONE_REGISTRY_PLUGIN_TOKEN":       {"DRONE_REGISTRY_SECRET", "DRONE_REGISTRY_PLUGIN_SECRET"},
		"DRONE_REGISTRY_PLUGIN_SKIP_VERIFY": {"DRONE_REGISTRY_SKIP_VERIFY"},
		"DRONE_SECRET_PLUGIN_ENDPOINT":      {"DRONE_SECRET_ENDPOINT"},
		"DRONE_SECRET_PLUGIN_TOKEN":         {"DRONE_SECRET_SECRET"},
		"DRONE_SECRET_PLUGIN_SKIP_VERIFY":   {"DRONE_SECRET_SKIP_VERIFY"},
	}
}

// dronePlugin returns the plugin of a kind that the environment sets.
func (e *environ) dronePlugin(kind string) drone.Plugin {
	name := "DRONE_" + kind + "_PLUGIN_"
	p := drone.Plugin{Endpoint: e.text(name + "ENDPOINT"), Secret: e.secret(name + "TOKEN")}
	if p.Endpoint != "" && !strings.HasPrefix(p.Endpoint, "http://") && !strings.HasPrefix(p.Endpoint, "https://") {
		e.fail(name+"ENDPOINT", p.Endpoint, "an http or https address")
	}
	if p.Endpoint != "" && p.Secret == "" {
		e.fail(name+"TOKEN", "", "the secret that the plugin shares (it must not be empty)")
	}
	if e.flag(name+"SKIP_VERIFY", false) {
		p.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	}
	return p
}

// envFile returns the variables in the dotenv file that a variable names.
func (e *environ) envFile(name string) []string {
	file := e.text(name)
	if file == "" {
		return nil
	}
	entries, err := pipeline.ReadEnvFile(file, nil)
	if err != nil {
		e.failed = append(e.failed, fmt.Errorf("$%s: %w", name, err))
	}
	return entries
}

// proxies returns the runner's own proxy variables, which steps get in upper and lower case.
func proxies() []string {
	var entries []string
	for _, name := range []string{"no_proxy", "http_proxy", "https_proxy", "all_proxy"} {
		if value := cmp.Or(os.Getenv(name), os.Getenv(strings.ToUpper(name))); value != "" {
			entries = append(entries, name+"="+value, strings.ToUpper(name)+"="+value)
		}
	}
	return entries
}

// colonPairs returns the NAME:VALUE pairs of a list.
func (e *environ) colonPairs(name string) map[string]string {
	pairs := map[string]string{}
	for _, item := range e.list(name) {
		key, value, found := strings.Cut(item, ":")
		if !found || key == "" {
			e.failed = append(e.failed, fmt.Errorf("$%s: an entry is not NAME:VALUE", name)) // the entry may be secret
			continue
		}
		pairs[key] = value
	}
	return pairs
}

// droneVolumes returns host folders for every step, SRC:DST or SRC:DST:ro.
func (e *environ) droneVolumes(name string) []pipeline.Mount {
	var mounts []pipeline.Mount
	for _, item := range e.list(name) {
		m, err := pipeline.ParseVolume(item)
		if err != nil {
			e.failed = append(e.failed, fmt.Errorf("$%s: %w", name, err))
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// droneDevices returns devices for every step, SRC, SRC:DST or SRC:DST:PERMISSIONS.
func (e *environ) droneDevices(name string) []pipeline.Device {
	var devices []pipeline.Device
	for _, item := range e.list(name) {
		parts := strings.SplitN(item, ":", 3)
		d := pipeline.Device{Source: parts[0], Destination: parts[0], Permissions: "rwm"}
		if len(parts) > 1 && parts[1] != "" {
			d.Destination = parts[1]
		}
		if len(parts) > 2 {
			d.Permissions = parts[2]
		}
		if !strings.HasPrefix(d.Source, "/dev/") || !strings.HasPrefix(d.Destination, "/dev/") || strings.Trim(d.Permissions, "rwm") != "" || d.Permissions == "" {
			e.fail(name, item, "a device such as /dev/kvm or /dev/sda:/dev/xvda:r")
			continue
		}
		devices = append(devices, d)
	}
	return devices
}
