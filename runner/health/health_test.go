package health_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/runner/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestServeTellsHowTheRunnerIs(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	var sick atomic.Bool
	r := health.Runner{
		Healthy: func() error {
			if sick.Load() {
				return errors.New("no contact")
			}
			return nil
		},
		Metrics: func() []health.Metric {
			return []health.Metric{
				health.One("up", "Whether it is up.", health.Gauge, 1),
				{Name: "done_total", Help: "Ends.", Kind: health.Counter, Label: "status", Values: map[string]float64{"b\"\n\\": 2, "a": 1.5}},
				health.Memory(),
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- health.Serve(ctx, "127.0.0.1:0", r, func(a net.Addr) { address <- "http://" + a.String() })
	}()
	url := <-address
	if code, body := get(t, url+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthy: %d %q", code, body)
	}
	sick.Store(true)
	if code, body := get(t, url+"/healthz"); code != 503 || body != "no contact\n" {
		t.Errorf("sick: %d %q", code, body)
	}
	_, body := get(t, url+"/metrics")
	want := "# HELP up Whether it is up.\n# TYPE up gauge\nup 1\n" +
		"# HELP done_total Ends.\n# TYPE done_total counter\ndone_total{status=\"a\"} 1.5\ndone_total{status=\"b\\\"\\n\\\\\"} 2\n"
	if !strings.HasPrefix(body, want) || strings.Contains(body, "process_resident_memory_bytes 0\n") {
		t.Errorf("metrics:\n%s", body)
	}
	if code, _ := get(t, url+"/"); code != 404 {
		t.Errorf("another path: %d", code)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeSaysWhereItCannotListen(t *testing.T) {
	err := health.Serve(t.Context(), "127.0.0.1:99999", health.Runner{}, nil)
	if err == nil || !strings.Contains(err.Error(), "listen for health checks") {
		t.Errorf("%v", err)
	}
}
