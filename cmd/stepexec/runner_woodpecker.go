package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/runner/woodpecker"
)

func newRunnerWoodpecker(kill <-chan struct{}) *cobra.Command {
	bench := &workbench{say: sayWithTime}
	cmd := &cobra.Command{
		Use:   "woodpecker",
		Short: "Work for a Woodpecker server, as its agent",
		Long: `Work for a Woodpecker server, as one of its agents. The variables of Woodpecker's own
agent configure it (docs/runner-woodpecker.md lists all of them):

  WOODPECKER_SERVER             HOST:PORT of the server's gRPC port (localhost:9000)
  WOODPECKER_AGENT_SECRET       of the server, or the agent's own token; or
  WOODPECKER_AGENT_SECRET_FILE  a file that holds it
  WOODPECKER_GRPC_SECURE        true: TLS
  WOODPECKER_MAX_WORKFLOWS      workflows at once (1)
  WOODPECKER_HOSTNAME           name of the agent (that of the machine)
  WOODPECKER_AGENT_LABELS       NAME=VALUE,... by which workflows choose agents
  WOODPECKER_AGENT_CONFIG_FILE  keeps the agent's number (/etc/woodpecker/agent.conf); empty: none
  WOODPECKER_HEALTHCHECK_ADDR   where /healthz and /metrics are, such as :3000 (nowhere)`,
		Example: "  WOODPECKER_SERVER=ci.example.com:9000 WOODPECKER_AGENT_SECRET=... stepexec runner woodpecker",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runWoodpecker(cmd.Context(), bench, kill)
		},
	}
	bench.add(cmd.Flags(), "what the server trusts the repository with", pipeline.PullMissing)
	return cmd
}

func runWoodpecker(ctx context.Context, bench *workbench, kill <-chan struct{}) error {
	e := &environ{}
	options, err := e.woodpeckerOptions()
	if err != nil {
		return err
	}
	e.warnUnused(bench.say, "WOODPECKER_", "docs/runner-woodpecker.md")
	bench.tracer = newTracer(bench.say)
	defer bench.tracer.Close(kill)
	if options.Execute, err = bench.open(ctx, policy.Woodpecker); err != nil {
		return err
	}
	options.Defaults.Network, options.State, options.Outage = bench.network, bench.root, bench.outage
	if bench.policy.name != bySource { // the policy decides about every option
		options.Defaults.Trust = workflows.Trust{Network: true, Volumes: true, Security: true}
	}
	options.Say, options.Kill = bench.say, kill
	stop := context.AfterFunc(ctx, func() { bench.say("takes no more work; what runs comes to its end (interrupt again to cancel it)") })
	defer stop()
	return woodpecker.Run(ctx, options)
}

// defaultHealth is the default address at which runners of both servers report their health.
const defaultHealth = ":3000"

// woodpeckerOptions returns the options that the environment sets.
func (e *environ) woodpeckerOptions() (woodpecker.Options, error) {
	host, _ := os.Hostname()
	o := woodpecker.Options{
		Server:           cmp.Or(e.text("WOODPECKER_SERVER"), "localhost:9000"),
		Secret:           e.secret("WOODPECKER_AGENT_SECRET"),
		Hostname:         cmp.Or(e.text("WOODPECKER_HOSTNAME"), host),
		Labels:           e.pairs("WOODPECKER_AGENT_LABELS", "WOODPECKER_FILTER_LABELS"),
		MaxWorkflows:     e.count(1, "WOODPECKER_MAX_WORKFLOWS", "WOODPECKER_MAX_PROCS"),
		SingleWorkflow:   e.flag("WOODPECKER_AGENT_SINGLE_WORKFLOW", false),
		AgentFile:        "/etc/woodpecker/agent.conf",
		Version:          "stepexec-" + programVersion(),
		Platform:         fetch.HostPlatform(),
		RetryTimeout:     e.duration("WOODPECKER_RETRY_TIMEOUT"),
		KeepaliveTime:    e.duration("WOODPECKER_KEEPALIVE_TIME"),
		KeepaliveTimeout: cmp.Or(e.duration("WOODPECKER_KEEPALIVE_TIMEOUT"), 20*time.Second),
		HealthAddress:    e.text("WOODPECKER_HEALTHCHECK_ADDR"),
		Defaults:         e.woodpeckerDefaults(),
	}
	e.ask("WOODPECKER_AGENT_CONFIG_FILE")
	if file, given := os.LookupEnv("WOODPECKER_AGENT_CONFIG_FILE"); given {
		o.AgentFile = file
	}
	if o.HealthAddress == "" && os.Getenv("WOODPECKER_HEALTHCHECK") == "" {
		o.HealthAddress, o.HealthByDefault = defaultHealth, true
	}
	switch {
	case !e.flag("WOODPECKER_HEALTHCHECK", true):
		o.HealthAddress = ""
	case o.HealthAddress == "":
		o.HealthAddress = defaultHealth
	}
	skip := e.flag("WOODPECKER_GRPC_SKIP_VERIFY", false)
	if e.flag("WOODPECKER_GRPC_SECURE", false) {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skip}
	}
	return o, e.err()
}

// woodpeckerDefaults returns what Woodpecker's docker backend would be configured to give to every
// step.
func (e *environ) woodpeckerDefaults() workflows.Defaults {
	limit := func(name string) []string { // the server's documentation has both forms
		return []string{"WOODPECKER_BACKEND_DOCKER_LIMIT_" + name, "WOODPECKER_LIMIT_" + name}
	}
	d := workflows.Defaults{
		Volumes: e.list("WOODPECKER_BACKEND_DOCKER_VOLUMES"),
		Limits: pipeline.Limits{
			Memory: e.number(0, limit("MEM")...), MemorySwap: e.number(0, limit("MEM_SWAP")...), ShmSize: e.number(0, limit("SHM_SIZE")...),
			CPUQuota: e.number(0, limit("CPU_QUOTA")...), CPUShares: e.number(0, limit("CPU_SHARES")...), CpusetCPUs: e.text(limit("CPU_SET")...),
		},
	}
	if d.Limits.CPUQuota > 0 {
		d.Limits.CPUPeriod = 100_000 // microseconds, the kernel's own and docker's
	}
	return d
}
