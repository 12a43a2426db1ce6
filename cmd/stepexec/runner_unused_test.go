package main

import (
	"slices"
	"testing"
)

func TestVariablesWithoutEffectAreTold(t *testing.T) {
	t.Setenv("WOODPECKER_LIMIT_MEM", "1048576")
	t.Setenv("WOODPECKER_AGENT_SECRET_FILE", "")
	t.Setenv("WOODPECKER_AGENT_SECRET", "s")
	t.Setenv("WOODPECKER_AGENT_CONFIG_FILE", "")
	t.Setenv("WOODPECKER_HEALTHCHECK", "true")
	t.Setenv("WOODPECKER_GRPC_SKIP_VERIFY", "true")
	t.Setenv("WOODPECKER_BACKEND_K8S_NAMESPACE", "ci")
	t.Setenv("WOODPECKER_LIMIT_MEMORY", "1") // a slip
	e := &environ{}
	o, err := e.woodpeckerOptions()
	if err != nil || o.Defaults.Limits.Memory != 1<<20 {
		t.Errorf("%v, limit of %d bytes", err, o.Defaults.Limits.Memory)
	}
	want := []string{"WOODPECKER_BACKEND_K8S_NAMESPACE", "WOODPECKER_LIMIT_MEMORY"}
	if got := e.unused("WOODPECKER_"); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
