// Package health tells the outside how a runner is: /healthz for who restarts it, and
// /metrics in the text format of Prometheus. It listens on the address that its caller gives.
package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kinds of metrics.
const (
	Counter = "counter" // only grows
	Gauge   = "gauge"
)

// Metric is a value with a name of Prometheus, and values of its label, if it has one.
type Metric struct {
	Name, Help, Kind string
	Label            string             // name of the label; "" is none
	Values           map[string]float64 // by the value of the label, or of "" alone
}

// One is a metric without a label.
func One(name, help, kind string, value float64) Metric {
	return Metric{Name: name, Help: help, Kind: kind, Values: map[string]float64{"": value}}
}

// Runner is what is asked of a runner. Both are called from several goroutines.
type Runner struct {
	Healthy func() error // nil: it does its work
	Metrics func() []Metric
}

// idleTime is how long a connection without a request stays open: whoever reaches the port must not
// use up the descriptors that builds need.
const idleTime = 30 * time.Second

// shutdownTime is how long a request that is under way may take at the end.
const shutdownTime = 2 * time.Second

// Serve listens on an address, such as :3000, until ctx ends. ready is called with the
// address that it listens on, and may be nil.
func Serve(ctx context.Context, address string, r Runner, ready func(net.Addr)) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for health checks: %w", err)
	}
	if ready != nil {
		ready(listener.Addr())
	}
	server := &http.Server{Handler: r.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: idleTime}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close() // connections that are open still
		}
	})
	err = server.Serve(listener)
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("answer health checks: %w", err)
}

func (r Runner) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := r.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		for _, m := range r.Metrics() {
			fmt.Fprint(w, m)
		}
	})
	return mux
}

// String is the metric in the text format of Prometheus.
func (m Metric) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.Name, m.Help, m.Name, m.Kind)
	for _, label := range sortedKeys(m.Values) {
		name := m.Name
		if m.Label != "" {
			name += fmt.Sprintf("{%s=%s}", m.Label, quoted(label))
		}
		fmt.Fprintf(&b, "%s %s\n", name, strconv.FormatFloat(m.Values[label], 'g', -1, 64))
	}
	return b.String()
}
