package policy_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func TestStoresOfKeyedCaches(t *testing.T) {
	const rules = "networks: [host]\nkeyed_caches: true\ncache_stores: [registry.example.com/ci/*, 's3://bucket/caches/**', 's3://own']\n"
	for store, allowed := range map[string]bool{
		"":                                  true,
		"registry.example.com/ci/cache":     true,
		"Registry.Example.com/ci/cache":     true,
		"registry.example.com/ci/a/b":       false,
		"registry.example.com/ci":           false,
		"registry.example.com.evil/ci/x":    false,
		"s3://bucket/caches/a/b":            true,
		"s3://bucket/caches":                false,
		"s3://bucket/other":                 false,
		"s3://bucket2/caches/a":             false,
		"s3://own":                          true,
		"s3://own/below":                    false,
		"evil.example.com/s3:bucket/caches": false,
	} {
		for name, text := range map[string]string{"with stores": rules, "without": "networks: [host]\nkeyed_caches: true\n"} {
			p, err := policy.Parse("p.yml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			step := pipeline.PlannedStep{
				Name: "a", Image: "busybox", Network: "host",
				Caches: []pipeline.KeyedCache{{Name: "deps", Path: "/deps", Store: store}},
				Mounts: []pipeline.Mount{{Type: pipeline.MountKeyed, Source: "deps", Destination: "/deps"}},
			}
			_, err = p.Admit(&pipeline.Plan{Steps: []pipeline.PlannedStep{step}}, policy.Origin{})
			step.Mounts = nil // it is looked up all the same
			if _, unmounted := p.Admit(&pipeline.Plan{Steps: []pipeline.PlannedStep{step}}, policy.Origin{}); (err == nil) != (unmounted == nil) {
				t.Errorf("%s: the store %q: %v, but without a mount %v", name, store, err, unmounted)
			}
			want := allowed && (name == "with stores" || store == "")
			if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "cache_stores") {
				t.Errorf("%s: the store %q: %v", name, store, err)
			}
		}
	}
	for _, text := range []string{"cache_stores: ['']", "cache_stores: ['[a']", "cache_stores: ['a b']"} {
		if _, err := policy.Parse("p.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), "is not a pattern of stores") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
