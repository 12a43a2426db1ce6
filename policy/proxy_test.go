package policy_test

import (
	"slices"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

// A privileged image gets the proxies that its runner has made, and nobody else's. Those that it
// does not get are told.
func TestPrivilegedImageGetsTheRunnersProxies(t *testing.T) {
	p := parse(t, "privileged_images: [plugins/docker]\nnetworks: [private]\n").Passing([]string{"HTTP_PROXY=http://proxy:3128", "no_proxy=a"})
	step := pipeline.PlannedStep{
		Image: "plugins/docker", Network: "private", Security: pipeline.Security{Privileged: true},
		Env: []string{"CI=true", "HTTP_PROXY=http://proxy:3128", "HTTPS_PROXY=http://evil", "LD_PRELOAD=x", "PLUGIN_REPO=x", "http_proxy=http://evil", "no_proxy=b"},
	}
	admitted, err := p.Admit(&pipeline.Plan{WorkspacePath: pipeline.DefaultWorkspace, Steps: []pipeline.PlannedStep{step}}, policy.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	got := admitted.Plan().Steps[0]
	if want := []string{"CI=true", "HTTP_PROXY=http://proxy:3128", "PLUGIN_REPO=x"}; !slices.Equal(got.Env, want) {
		t.Errorf("it gets %q, want %q", got.Env, want)
	}
	if want := []string{"HTTPS_PROXY", "http_proxy", "no_proxy"}; !slices.Equal(got.Withheld, want) {
		t.Errorf("told are %q, want %q", got.Withheld, want)
	}
}
