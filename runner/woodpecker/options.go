package woodpecker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/runner"
)

// Options say which server an agent works for, and how. Server, Secret and Execute are
// required.
type Options struct {
	Server string      // HOST:PORT, or unix:///PATH
	Secret string      // that agents and server share, or the agent's own token
	TLS    *tls.Config // nil: the connection is not encrypted

	Hostname       string            // of this agent, in the server's lists
	Labels         map[string]string // beside platform, backend, hostname and repo, which they may replace
	MaxWorkflows   int               // workflows that may run at once; 0: 1
	SingleWorkflow bool              // the agent ends after one workflow
	AgentFile      string            // file that keeps the agent's number between starts; "": the agent is new each time, and unregisters at its end
	State          string            // folder below which results are kept until the server has them; "": they wait in memory only
	Version        string            // of stepexec
	Platform       string            // of this machine, such as linux/amd64

	RetryTimeout     time.Duration // time without the server after which the agent gives up; 0: never
	Outage           time.Duration // time for which answers of a proxy, and failures of the server that may pass, count as the server's absence; 0: DefaultOutage
	AnswerTime       time.Duration // time for the first answer to a call that does not wait for something, before the call is made again, with more time; 0: 30 s
	LogPatience      time.Duration // time for which lines of a log are sent again while the server answers other calls; 0: DefaultLogPatience
	KeepaliveTime    time.Duration // silence after which the agent tests the connection; 0: never. Servers refuse less than their own setting
	KeepaliveTimeout time.Duration // time for the answer to such a test; 0: 20 s

	HealthByDefault bool           // nobody has asked for HealthAddress: a warning where it cannot be had
	HealthAddress   string         // for /healthz and /metrics; "": none
	Listening       func(net.Addr) // receives the address of HealthAddress; nil: nobody

	Defaults workflows.Defaults // of steps
	Execute  runner.Execute
	Say      func(line string) // writes a line to the agent's own log; nil: nobody reads it
	Kill     <-chan struct{}   // closed: workflows that run are cancelled, and the agent ends
}

// backend is the agent's name for the label by which workflows choose among agents.
const backend = "stepexec"

// check fills in defaults, and says what is missing.
func (o *Options) check() error {
	switch {
	case o.Server == "":
		return errors.New("no server is given (set WOODPECKER_SERVER to HOST:PORT)")
	case strings.Contains(o.Server, "://") && !strings.HasPrefix(o.Server, "unix://"):
		return fmt.Errorf("server %s: must be HOST:PORT without a scheme: it is the address of its gRPC port (or unix:///PATH)", o.Server)
	case o.Secret == "":
		return errors.New("no secret is given (set WOODPECKER_AGENT_SECRET to that of the server, or to the agent's token)")
	case o.MaxWorkflows < 0:
		return fmt.Errorf("%d workflows at once: must be 1 or more", o.MaxWorkflows)
	}
	path, isSocket := strings.CutPrefix(o.Server, "unix://")
	_, port, err := net.SplitHostPort(o.Server)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if !isSocket && (err != nil || portErr != nil || number == 0) {
		return fmt.Errorf("server %s: must be HOST:PORT: the port is that of the server's gRPC, 9000 unless it is set otherwise", o.Server)
	}
	if isSocket {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("server %s: %w", o.Server, err)
		}
		o.Server = "unix://" + absolute
	}
	if o.MaxWorkflows == 0 || o.SingleWorkflow {
		o.MaxWorkflows = 1
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	return nil
}

// labels are those by which the server chooses workflows for this agent.
func (o *Options) labels() map[string]string {
	labels := map[string]string{"hostname": o.Hostname, "platform": o.Platform, "backend": backend, "repo": "*"}
	for name, value := range o.Labels {
		labels[name] = value
	}
	return labels
}
