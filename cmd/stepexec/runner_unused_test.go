package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The table of all variables is what the code does with them. Write it anew with
// STEPEXEC_WRITE=1.
func TestTheTableOfVariablesIsTrue(t *testing.T) {
	e := &environ{}
	_ = e.droneOptions()
	_ = e.number(0, "DRONE_RUNNER_MAX_PROCS")
	if _, err := e.woodpeckerOptions(); err != nil {
		t.Fatal(err)
	}
	effects := map[string]string{}
	for name, same := range e.asked {
		if effects[name] = "as there"; same != name {
			effects[name] = fmt.Sprintf("the same as `%s`", same)
		}
	}
	for name, why := range meaningless() {
		if effects[name] != "" {
			t.Errorf("%s is looked at, and said to have no effect", name)
		}
		effects[name] = "no effect: " + why
	}
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(effects)) {
		fmt.Fprintf(&table, "| `%s` | %s |\n", name, effects[name])
	}
	const file, begin = "../../docs/runner-variables.md", "|---|---|\n"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, got, found := strings.Cut(string(doc), begin)
	if os.Getenv("STEPEXEC_WRITE") != "" {
		if err := os.WriteFile(file, []byte(head+begin+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !found || got != table.String() {
		t.Errorf("%s has another table than\n%s", file, table.String())
	}
}

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
