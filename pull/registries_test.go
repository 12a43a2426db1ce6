package pull_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pull"
)

func TestWithMirrors(t *testing.T) {
	file := &pull.Registries{Hosts: map[string]pull.Host{
		"docker.io": {Mirrors: []string{"file.example"}, StallTimeout: time.Minute},
	}}
	got, err := file.WithMirrors([]string{"one.example:5000", "quay.io=two.example/quay", "docker.io=three.example"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]pull.Host{
		"docker.io": {Mirrors: []string{"one.example:5000", "three.example", "file.example"}, StallTimeout: time.Minute},
		"quay.io":   {Mirrors: []string{"two.example/quay"}},
	}
	if diff := cmp.Diff(want, got.Hosts); diff != "" {
		t.Error(diff)
	}
	if len(file.Hosts) != 1 || len(file.Hosts["docker.io"].Mirrors) != 1 {
		t.Errorf("the original was changed: %v", file.Hosts)
	}
	for flag, want := range map[string]string{
		"":                          "it is not HOST",
		"mirror":                    "needs a dot",
		"https://mirror.example":    "leave out https://",
		"quay.io=":                  "it is not HOST",
		"=mirror.example":           "it is not HOST",
		"quay.io/x=mirror.example":  "it is not HOST",
		"a:hunter2@mirror.example":  "it is not HOST",
		"quay.io=m.example=n.other": "it is not HOST",
	} {
		_, err := (*pull.Registries)(nil).WithMirrors([]string{flag})
		wantText(t, err, "registry mirror ", want)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
