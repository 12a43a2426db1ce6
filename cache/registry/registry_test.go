package registry_test

import (
	"testing"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/cache/depottest"
	"github.com/stepexec/stepexec/cache/registry"
	fixture "github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

func open(t *testing.T, repository string) cache.Depot {
	t.Helper()
	depot, err := registry.Open(repository, pull.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return depot
}

func TestARealRegistryIsADepot(t *testing.T) {
	r := fixture.Start(t, fixture.Options{})
	depottest.Run(t, func() cache.Depot { return open(t, r.Host+"/ci/cache") })
}
