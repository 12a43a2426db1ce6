package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/fetch"
)

func TestHealthcheckIsReadAsDockerWritesIt(t *testing.T) {
	for _, test := range []struct {
		name, config string
		argv         []string // nil: none
		timeout      time.Duration
	}{
		{"no configuration", ``, nil, 0},
		{"none", `{"config":{}}`, nil, 0},
		{"switched off", `{"config":{"Healthcheck":{"Test":["NONE"]}}}`, nil, 0},
		{"inherited", `{"config":{"Healthcheck":{"Test":[],"Interval":1}}}`, nil, 0},
		{"without a program", `{"config":{"Healthcheck":{"Test":["CMD"]}}}`, nil, 0},
		{"argv", `{"config":{"Healthcheck":{"Test":["CMD","pg_isready","-q"]}}}`, []string{"pg_isready", "-q"}, 90 * time.Second},
		{"line", `{"config":{"Healthcheck":{"Test":["CMD-SHELL","curl -f localhost"],"Interval":5000000000}}}`, []string{"/bin/sh", "-c", "curl -f localhost"}, time.Minute},
		{"slow", `{"config":{"Healthcheck":{"Test":["CMD","x"],"StartPeriod":300000000000,"Interval":10000000000,"Retries":6}}}`, []string{"x"}, 6 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			check, err := healthcheckOf(&fetch.Image{RawConfig: []byte(test.config)})
			if err != nil {
				t.Fatal(err)
			}
			if check == nil {
				if test.argv != nil {
					t.Error("not found")
				}
				return
			}
			if diff := cmp.Diff(test.argv, check.argv()); diff != "" || check.timeout() != test.timeout {
				t.Errorf("timeout %v, argv %s", check.timeout(), diff)
			}
		})
	}
}

func FuzzHealthcheck(f *testing.F) {
	f.Add([]byte(`{"config":{"Healthcheck":{"Test":["CMD","x"],"Retries":-1,"Interval":-5}}}`))
	f.Add([]byte(`{"config":{"Healthcheck":{"Test":["CMD-SHELL","x"],"Retries":9223372036854775807,"StartPeriod":9223372036854775807}}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		check, err := healthcheckOf(&fetch.Image{RawConfig: config})
		if err == nil && check != nil && (len(check.argv()) == 0 || check.timeout() < readyTimeout) {
			t.Errorf("argv %q, timeout %v", check.argv(), check.timeout())
		}
	})
}
