package drone_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

// The administrator's devices are in the steps of every repository. Others of an untrusted one
// are refused.
func TestDevicesOfTheRunner(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) {
		o.Devices = []pipeline.Device{{Source: "/dev/null", Destination: "/dev/mine", Permissions: "rwm"}}
		o.Execute = func(ctx context.Context, w run.Work) error {
			refused := func() bool { // images of the machine are refused, too
				_, err := w.Default.Plan(w.Pipeline, w.Inputs, policy.Origin{Way: policy.Drone})
				return strings.Contains(fmt.Sprint(err), "devices")
			}
			if refused() {
				t.Error("the runner's device is refused")
			}
			w.Pipeline.Steps[0].Security.Devices[0].Source = "/dev/zero"
			if !refused() {
				t.Error("another device is allowed")
			}
			w.Pipeline.Steps[0].Security.Devices[0].Source = "/dev/null"
			return b.Execute(ctx, w)
		}
	})
	untrusted := func(s *servertest.Stage) { s.Repo["trusted"] = false }
	s := b.server.Ended(b.server.Push("kind: pipeline\nclone: {disable: true}\nsteps: [{name: a, image: 'oci:busybox', commands: [test -c /dev/mine]}]", untrusted))
	if outcome(s) != "a=success success" {
		t.Errorf("%s %s", outcome(s), s.Error)
	}
}
