package woodpecker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/runner/woodpecker"
	"github.com/stepexec/stepexec/runner/woodpecker/servertest"
)

func TestLostAnswersAndRefusalsThatPass(t *testing.T) {
	b := newBench(t)
	b.server.Refuse("Auth", codes.Unavailable, 1)
	b.server.Refuse("Version", codes.Unavailable, 1)
	b.server.Lose("RegisterAgent", 1)
	b.server.Lose("Init", 1)
	b.server.Lose("Log", 2)
	b.server.Lose("Update", 2)
	b.server.Refuse("Update", codes.Unknown, 1) // its database is locked
	b.server.Refuse("Done", codes.Unknown, 9)
	b.server.Lose("Done", 1)
	b.server.Refuse("ReportHealth", codes.Aborted, 1)
	b.start(nil)
	w := b.server.Ended(b.server.Push(workflow(serial(step("a", "seq 1 100"), step("b", "exit 5"))...), 0, nil))
	if outcome(w.Step("a")) != "success" || w.Step("b").End.GetExitCode() != 5 || strings.Count(printed(w.Step("a")), "\n") != 99 {
		t.Errorf("%v, %v, %d lines", w.Step("a").End, w.Step("b").End, len(w.Step("a").Lines))
	}
}

// The words of a database in trouble are not the server's last ones.
func TestTroubleOfTheServersDatabasePasses(t *testing.T) {
	b := newBench(t)
	troubles := []string{
		"invalid connection", "pq: sorry, too many clients already", "sql: connection is already closed",
		"sql: transaction has already been committed or rolled back", `pq: prepared statement "1" already exists`,
	}
	for _, method := range []string{"Update", "Done"} {
		for _, trouble := range troubles {
			b.server.RefuseSaying(method, trouble)
		}
	}
	b.start(nil)
	w := b.server.Ended(b.server.Push(workflow(serial(step("a", "exit 5"))...), 0, nil))
	if w.Step("a").End.GetExitCode() != 5 || w.Done == nil {
		t.Errorf("%v, %v", w.Step("a").End, w.Done)
	}
}

// gate is a step that runs until the test lets it go on: a file of the runner's machine.
func gate(name string, after ...string) (*workflows.Step, func(dir string) string) {
	s := step(name, append([]string{"echo before", "while ! test -e /gate/open; do sleep 0.05; done"}, after...)...)
	return s, func(dir string) string {
		s.Volumes = append(s.Volumes, dir+":/gate")
		return dir + "/open"
	}
}

func (b *bench) until(what string, holds func() bool) { b.t.Helper(); b.server.Until(what, holds) }

func TestWorkGoesOnWhileTheServerIsAway(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	s, place := gate("a", "echo while the server is away", "seq 1 1000")
	open := place(t.TempDir())
	id := b.server.Push(workflow(serial(s, step("b", "exit 7"), with(step("c", "echo late"), func(s *workflows.Step) { s.OnFailure = true }))...), 0, nil)
	b.until("the step to run", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
	b.server.Stop()
	touch(t, open)
	b.UntilSaid("cannot be reached")
	b.server.Start()
	w := b.server.Ended(id)
	if got := outcome(w.Step("a")) + outcome(w.Step("b")) + outcome(w.Step("c")); got != "successfailuresuccess" {
		t.Error(got)
	}
	if !strings.Contains(printed(w.Step("a")), "while the server is away\n1\n2\n") || printed(w.Step("c")) != "late" {
		t.Errorf("%q", w.Step("a").Lines)
	}
	if !b.HasSaid("is back") {
		t.Errorf("said %q", b.Said())
	}
}

func TestWorkflowThatIsGivenOutAgainRunsOnce(t *testing.T) {
	b := newBench(t)
	b.start(func(o *woodpecker.Options) { o.MaxWorkflows = 2 })
	s, place := gate("a", "echo once")
	open := place(t.TempDir())
	id := b.server.Push(workflow(serial(s)...), 0, nil)
	b.until("the step to run", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
	polls := 0
	b.until("", func() bool { polls = b.server.Calls("Next"); return true })
	b.server.GiveOutAgain(id)
	b.until("another poll", func() bool { return b.server.Calls("Next") > polls })
	touch(t, open)
	if w := b.server.Ended(id); printed(w.Step("a")) != "before\nonce" {
		t.Errorf("%q", w.Step("a").Lines)
	}
}

// What a proxy answers while the server behind it starts says nothing about the call.
func TestProxyInPlaceOfTheServer(t *testing.T) {
	for _, code := range []int{200, 401, 403, 404, 500, 502} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			t.Parallel() // it is mostly pauses
			b := newBench(t)
			b.start(nil)
			s, place := gate("a", "exit 3")
			open := place(t.TempDir())
			id := b.server.Push(workflow(serial(s)...), 0, nil)
			b.until("the step to run", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
			b.server.StopBehindProxy(code)
			touch(t, open)
			b.until("many attempts", func() bool { return b.server.ProxyAnswers() > 20 })
			b.server.Start()
			if w := b.server.Ended(id); w.Step("a").End.GetExitCode() != 3 || w.Done.GetError() != "" {
				t.Errorf("%v %v", w.Step("a").End, w.Done)
			}
		})
	}
}

func TestOrderlyEndOfTheServerWaitsForNoPoll(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	b.until("a poll", func() bool { return b.server.Calls("Next") > 0 })
	b.server.Shutdown()
	b.server.Start()
	b.server.Ended(b.server.Push(workflow(serial(step("a", "true"))...), 0, nil))
}

func TestDeletedAgentRegistersAnew(t *testing.T) {
	for name, restart := range map[string]bool{"token that is still valid": false, "server that has restarted": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.start(func(o *woodpecker.Options) { o.AgentFile = filepath.Join(t.TempDir(), "agent.conf") })
			b.until("a poll", func() bool { return b.server.Calls("Next") > 0 })
			b.server.ForgetAgents()
			if restart {
				b.server.Stop()
				b.server.Start()
			}
			b.until("a new registration", func() bool { return b.server.Calls("RegisterAgent") > 1 })
			b.server.Ended(b.server.Push(workflow(serial(step("a", "true"))...), 0, nil))
		})
	}
}

// The steps tell of their failure; the workflow's error is for what is no step's.
func TestFailedStepIsNoErrorOfItsWorkflow(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	if w := b.server.Ended(b.server.Push(workflow(serial(step("a", "exit 3"))...), 0, nil)); w.Done.GetError() != "" {
		t.Errorf("%v", w.Done)
	}
	ignored := with(step("a", "exit 3"), func(s *workflows.Step) { s.Failure = "ignore" })
	if w := b.server.Ended(b.server.Push(workflow(serial(ignored)...), 0, nil)); w.Done.GetError() != "" {
		t.Errorf("%v", w.Done)
	}
}

func TestServerCancels(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	id := b.server.Push(workflow(
		[]*workflows.Step{with(step("db", "exec sleep 1000"), func(s *workflows.Step) { s.Detached = true })},
		[]*workflows.Step{step("a", "trap 'echo cleaning; exit 1' TERM", "echo begun", "while :; do sleep 0.05; done")},
		[]*workflows.Step{with(step("b", "true"), func(s *workflows.Step) { s.OnFailure = true })},
	), 0, nil)
	b.until("the step to run", func() bool { return strings.Contains(printed(b.server.Get(id).Step("a")), "begun") })
	b.server.Cancel(id)
	w := b.server.Ended(id)
	if !w.Done.GetCanceled() || outcome(w.Step("a")) != "canceled" || outcome(w.Step("b")) != "skipped" {
		t.Errorf("%v: a %s, b %s", w.Done, outcome(w.Step("a")), outcome(w.Step("b")))
	}
	if !strings.Contains(printed(w.Step("a")), "cleaning") {
		t.Errorf("no chance to clean up: %q", w.Step("a").Lines)
	}
}

func TestDrainLetsWorkEnd(t *testing.T) {
	b := newBench(t)
	a := b.start(nil)
	s, place := gate("a", "echo after")
	open := place(t.TempDir())
	id := b.server.Push(workflow(serial(s, step("b", "true"))...), 0, nil)
	b.until("the step to run", func() bool { return len(b.server.Get(id).Step("a").Lines) > 1 })
	a.Stop()
	later := b.server.Push(workflow(serial(step("never", "true"))...), 0, nil)
	touch(t, open)
	if err := a.Err(); err != nil {
		t.Error(err)
	}
	w := b.server.Ended(id)
	if outcome(w.Step("b")) != "success" || w.Done.GetCanceled() {
		t.Errorf("%v %s", w.Done, outcome(w.Step("b")))
	}
	b.until("", func() bool {
		if b.server.Get(later).Step("never").Running {
			t.Error("a drained agent takes work")
		}
		return true
	})
}

func TestKillCancelsAndTells(t *testing.T) {
	b := newBench(t)
	a := b.start(nil)
	id := b.server.Push(workflow(serial(step("a", "echo begun", "sleep 1000"), step("b", "true"))...), 0, nil)
	b.until("the step to run", func() bool { return strings.Contains(printed(b.server.Get(id).Step("a")), "begun") })
	a.Kill()
	if err := a.Err(); err != nil {
		t.Error(err)
	}
	w := b.server.Ended(id)
	if !w.Done.GetCanceled() || outcome(w.Step("a")) != "canceled" || outcome(w.Step("b")) != "skipped" {
		t.Errorf("%v: a %s, b %s", w.Done, outcome(w.Step("a")), outcome(w.Step("b")))
	}
}

// The server takes a second for every call with lines, and nothing is lost or out of order.
func TestSlowServerHoldsTheSteps(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	b.server.Slow("Log", 300*time.Millisecond, 5)
	const lines = 200_000
	w := b.server.Ended(b.server.Push(workflow(serial(step("a", fmt.Sprintf(`awk 'BEGIN { for (i = 0; i < %d; i++) print "%s" }'`, lines, strings.Repeat("x", 99))))...), 0, nil))
	if outcome(w.Step("a")) != "success" || strings.Count(printed(w.Step("a")), "\n") != lines-1 {
		t.Errorf("%v with %d lines, the last of them %.200q", w.Step("a").End, len(w.Step("a").Lines), w.Step("a").Lines[max(0, len(w.Step("a").Lines)-2):])
	}
}

func TestWorkThatCannotBeBegun(t *testing.T) {
	b := newBench(t)
	b.start(func(o *woodpecker.Options) {
		o.Execute = func(context.Context, run.Work) error { return errors.New("step a: privileged is not allowed") }
	})
	w := b.server.Ended(b.server.Push(workflow(serial(step("a", "true"), step("b", "true"))...), 0, nil))
	if !strings.Contains(w.Done.GetError(), "not allowed") || outcome(w.Step("a")) != "failure" || outcome(w.Step("b")) != "skipped" {
		t.Errorf("%v: a %s, b %s", w.Done, outcome(w.Step("a")), outcome(w.Step("b")))
	}
}

// What is not cleared away is for the operator: the steps have ended well.
func TestLeftoversAreNoFailure(t *testing.T) {
	b := newBench(t)
	b.start(func(o *woodpecker.Options) {
		o.Execute = func(ctx context.Context, w run.Work) error {
			return errors.Join(b.Execute(ctx, w), errors.New("unmount: busy"))
		}
	})
	w := b.server.Ended(b.server.Push(workflow(serial(step("a", "true"))...), 0, nil))
	if w.Done.GetError() != "" || outcome(w.Step("a")) != "success" || !b.HasSaid("unmount: busy") {
		t.Errorf("%v: a %s, said %q", w.Done, outcome(w.Step("a")), b.Said())
	}
}

func TestAgentGivesUpWhenTold(t *testing.T) {
	b := newBench(t)
	a := b.start(func(o *woodpecker.Options) { o.RetryTimeout = 300 * time.Millisecond })
	b.until("a poll", func() bool { return b.server.Calls("Next") > 0 })
	b.server.Stop()
	if err := a.Err(); err == nil || !strings.Contains(err.Error(), "gave up on the server") {
		t.Errorf("%v", err)
	}
}

// A poll that has lasted for longer than the agent is to try does not end it when the server
// restarts.
func TestOnlyTheTimeWithoutTheServerCounts(t *testing.T) {
	b := newBench(t)
	const patience = 2 * time.Second
	b.start(func(o *woodpecker.Options) { o.RetryTimeout = patience })
	b.until("a poll", func() bool { return b.server.Calls("Next") > 0 })
	time.Sleep(patience + 100*time.Millisecond) // the time is what is tested
	b.server.Stop()
	b.server.Start()
	b.server.Ended(b.server.Push(workflow(serial(step("a", "true"))...), 0, nil))
}

func TestHealthAndMetrics(t *testing.T) {
	b := newBench(t)
	defer http.DefaultClient.CloseIdleConnections()
	address := make(chan string, 1)
	b.start(func(o *woodpecker.Options) {
		o.HealthAddress, o.Listening = "127.0.0.1:0", func(a net.Addr) { address <- "http://" + a.String() }
	})
	url := <-address
	b.server.Ended(b.server.Push(workflow(serial(step("a", "true"), step("b", "false"))...), 0, nil))
	get := func(path string) (int, string) {
		response, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	if code, body := get("/healthz"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	for want := ""; want != "there"; {
		_, body := get("/metrics") // a workflow is counted after the server knows of its end
		if strings.Contains(body, `stepexec_runner_workflows_total{status="failure"} 1`) {
			want = "there"
			for _, line := range []string{"stepexec_runner_capacity 1", `steps_total{status="succeeded"} 1`, `steps_total{status="failed"} 1`, "stepexec_runner_lost_log_lines_total 0"} {
				if !strings.Contains(body, line+"\n") {
					t.Errorf("the metrics lack %q:\n%s", line, body)
				}
			}
		}
	}
}

func TestTLS(t *testing.T) {
	certificate, pool := certificate(t)
	b := newBench(t)
	b.server = servertest.New(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	b.start(func(o *woodpecker.Options) { o.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12} })
	if w := b.server.Ended(b.server.Push(workflow(serial(step("a", "true"))...), 0, nil)); outcome(w.Step("a")) != "success" {
		t.Error(outcome(w.Step("a")))
	}
	strange := b.start(func(o *woodpecker.Options) {
		o.TLS, o.RetryTimeout = &tls.Config{MinVersion: tls.VersionTLS12}, time.Millisecond
	})
	if err := strange.Err(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
