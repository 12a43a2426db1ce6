package drone_test

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

const (
	callPing     = "POST /rpc/v2/ping"
	callRequest  = "POST /rpc/v2/stage"
	callAccept   = "POST /rpc/v2/stage/{id}"
	callDetails  = "GET /rpc/v2/stage/{id}"
	callPutStage = "PUT /rpc/v2/stage/{id}"
	callPutStep  = "PUT /rpc/v2/step/{id}"
	callUpload   = "POST /rpc/v2/step/{id}/logs/upload"
	callBatch    = "POST /rpc/v2/step/{id}/logs/batch"
	callWatch    = "POST /rpc/v2/build/{id}/watch"
)

// Whatever happens to calls, a stage comes to its end once, with all of its log.
func TestCallsThatGoWrong(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	for name, break_ := range map[string]func(s *servertest.Server){
		"polls":             func(s *servertest.Server) { s.Refuse(callRequest, 502, 2); s.Lose(callRequest, 0) },
		"ping of a restart": func(s *servertest.Server) { s.Refuse(callRequest, 503, 1); s.Refuse(callDetails, 502, 2) },
		"time that is over": func(s *servertest.Server) {
			for _, call := range []string{callAccept, callDetails, callPutStage, callPutStep, callUpload} {
				s.Refuse(call, 204, 2)
			}
		},
		"a page with the status 200": func(s *servertest.Server) {
			for _, call := range []string{callRequest, callAccept, callDetails, callPutStage, callPutStep, callUpload, callWatch} {
				s.Refuse(call, 200, 1)
			}
		},
		"lost accept":     func(s *servertest.Server) { s.Lose(callAccept, 1) },
		"lost step":       func(s *servertest.Server) { s.Lose(callPutStep, 2) },
		"lost end":        func(s *servertest.Server) { s.Refuse(callUpload, 504, 2); s.Lose(callUpload, 1) },
		"refused updates": func(s *servertest.Server) { s.Refuse(callPutStep, 502, 3); s.Refuse(callPutStage, 502, 2) },
		"no live view":    func(s *servertest.Server) { s.Refuse(callBatch, 500, 100) },
		"watch":           func(s *servertest.Server) { s.Refuse(callWatch, 500, 3); s.Lose(callWatch, 2) },
		"slow": func(s *servertest.Server) {
			s.Slow(callPutStep, 300*time.Millisecond, 4)
			s.Slow(callUpload, 300*time.Millisecond, 4)
		},
	} {
		t.Run(name, func(t *testing.T) {
			break_(b.server)
			s := b.server.Ended(b.server.Push(steps("a: commands: [echo one]", "b: commands: [echo two, exit 3]"), nil))
			if got := outcome(s); got != "clone=success a=success b=failure(3) failure" {
				t.Error(got)
			}
			if s.Step("a").Text() != "+ echo one\none\n" || s.Step("b").Text() != "+ echo two\ntwo\n+ exit 3\n" {
				t.Errorf("%q %q", s.Step("a").Text(), s.Step("b").Text())
			}
		})
	}
}

// The protocol has no way to ask for the numbers of steps again.
func TestLostNumbersOfSteps(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	b.server.Lose(callPutStage, 1)
	ran := filepath.Join(b.Dir, "ran")
	s := b.server.Ended(b.server.Push(steps("a: commands: [echo]"), nil))
	if s.Status != "error" || !strings.Contains(s.Error, "the numbers of the steps was lost") {
		t.Errorf("%s %s", s.Status, s.Error)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it has run all the same")
	}
}

func TestStageThatAnotherRunnerHas(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	b.server.Refuse(callAccept, 409, 1)
	taken := b.server.Push(steps("a: commands: [echo]"), nil)
	b.server.Until("the accept", func() bool { return b.server.CallsLocked(callAccept) > 0 })
	b.server.Ended(b.server.Push(steps("a: commands: [echo]"), nil))
	if s := b.server.Get(taken); len(s.Steps) > 0 || s.Machine != "" {
		t.Errorf("%+v", s)
	}
}

func TestCancelKillsAtOnce(t *testing.T) {
	b := newBench(t)
	w := b.start(nil)
	id := b.server.Push(steps("a: commands: ['trap \"\" TERM', 'echo begun', 'sleep 1000']", "b: commands: [echo], when: {status: [failure]}"), nil)
	b.server.Until("its first line", func() bool { return strings.Contains(b.server.Peek(id).Step("a").LiveText(), "\nbegun\n") })
	if b.Runs() == 0 {
		t.Error("nothing runs")
	}
	began := time.Now()
	b.server.Cancel(id)
	w.Stop()
	if err := w.Err(); err != nil { // returns only when the run is over and cleared away
		t.Error(err)
	}
	t.Logf("over after %v", time.Since(began))
	if s := b.server.Get(id); s.Status != "killed" || !strings.Contains(s.Step("a").Text(), "begun") || b.Runs() != 0 {
		t.Errorf("%s, %q, %d runs", outcome(s), s.Step("a").Text(), b.Runs())
	}
	if b.HasSaid("rejected") {
		t.Error("the conflict after a cancel is told as if it mattered")
	}
}

func TestTimeoutOfTheRepository(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) {
		execute := o.Execute
		o.Execute = shortened(execute)
	})
	s := b.server.Ended(b.server.Push(steps("a: commands: [sleep 1000]", "b: commands: [echo]"), nil))
	if got := outcome(s); got != "clone=success a=killed(137) b=skipped killed" || !strings.Contains(s.Error, "time is over") {
		t.Errorf("%s: %s", got, s.Error)
	}
}

func TestServerThatRestartsInTheMiddleOfAStep(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	id := b.server.Push(steps("a: commands: ['echo begun', 'until test -e go; do sleep 0.05; done', 'echo ended']", "b: commands: [echo after]"), nil)
	b.server.Until("its first line", func() bool { return strings.Contains(b.server.Peek(id).Step("a").LiveText(), "\nbegun\n") })
	b.server.Stop()
	volume := waitFor(t, filepath.Join(b.Dir, "root", "runs", "*", "volumes", ".workspace"))
	if err := os.WriteFile(filepath.Join(volume, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for !b.HasSaid("again in") { // work goes on without the server
		time.Sleep(20 * time.Millisecond)
	}
	b.server.Restart()
	s := b.server.Ended(id)
	if got := outcome(s); got != "clone=success a=success b=success success" || !strings.HasSuffix(s.Step("a").Text(), "ended\n") || s.Step("b").Text() != "+ echo after\nafter\n" {
		t.Errorf("%s %q", got, s.Step("a").Text())
	}
}

func waitFor(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatal(pattern, found, err)
	}
	return found[0]
}

func TestLongLogsKeepTheirEnd(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	s := b.server.Ended(b.server.Push(steps("a: commands: ['yes 0123456789012345678901234567890123456789 | head -n 200000', 'echo the end']"), nil))
	log := s.Step("a").Text()
	if !strings.HasPrefix(log, "stepexec: the log is longer than 5 MiB; this is the end of it\n") || !strings.HasSuffix(log, "\nthe end\n") || len(log) < 5<<20-100 {
		t.Errorf("%d bytes: %.100q … %q", len(log), log, log[max(0, len(log)-30):])
	}
	if s.Step("a").Log[1].Pos != 1 {
		t.Errorf("positions begin at %d", s.Step("a").Log[1].Pos)
	}
}

func TestDrainRunsWhatRunsToItsEnd(t *testing.T) {
	b := newBench(t)
	w := b.start(nil)
	id := b.server.Push(steps("a: commands: ['echo begun', 'until test -e go; do sleep 0.05; done']", "b: commands: [echo]"), nil)
	b.server.Until("its first line", func() bool { return strings.Contains(b.server.Peek(id).Step("a").LiveText(), "\nbegun\n") })
	next := b.server.Push(steps("a: commands: [echo]"), nil)
	w.Stop()
	volume := waitFor(t, filepath.Join(b.Dir, "root", "runs", "*", "volumes", ".workspace"))
	if err := os.WriteFile(filepath.Join(volume, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	if got := outcome(b.server.Get(id)); got != "clone=success a=success b=success success" || b.server.Get(next).Machine != "" {
		t.Error(got)
	}
}

func TestKilledRunnerSaysSo(t *testing.T) {
	b := newBench(t)
	w := b.start(nil)
	id := b.server.Push(steps("a: commands: ['echo begun', 'sleep 1000']", "b: commands: [echo]"), nil)
	b.server.Until("its first line", func() bool { return strings.Contains(b.server.Peek(id).Step("a").LiveText(), "\nbegun\n") })
	w.Kill()
	if err := w.Err(); err != nil {
		t.Error(err)
	}
	if s := b.server.Get(id); outcome(s) != "clone=success a=killed(137) b=skipped killed" || s.Error != "the runner was shut down" {
		t.Errorf("%s %s", outcome(s), s.Error)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	b := newBench(t)
	address := make(chan string, 1)
	b.start(func(o *drone.Options) {
		o.HealthAddress, o.Listening = "127.0.0.1:0", func(a net.Addr) { address <- "http://" + a.String() }
	})
	url := <-address
	b.server.Ended(b.server.Push(steps("a: commands: [echo]", "b: commands: [exit 1]"), nil))
	get := func(path string) string {
		response, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if got := get("/healthz"); got != "ok\n" {
		t.Error(got)
	}
	for _, want := range []string{"\nstepexec_runner_capacity 1\n", "\nstepexec_runner_steps_total{status=\"success\"} 2\n", "\nstepexec_runner_steps_total{status=\"failure\"} 1\n"} {
		if got := get("/metrics"); !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"build": {"event": "push", "stages": [null, {"status": "failure"}]}, "stage": {"name": "default"}, "repository": {"slug": "a/b"}, "secrets": [null, {"name": "s", "data": "x"}],
		"netrc": {"password": "p"}, "config": {"Data": "` + base64.StdEncoding.EncodeToString([]byte(steps("a: commands: [echo], environment: {A: {from_secret: s}}"))) + `"}}`))
	f.Add([]byte(`{"build": {}, "stage": {}, "repository": {}, "config": {"Data": null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		plan, err := drone.Plan(data)
		if err == nil && len(plan.Steps) == 0 {
			t.Error("it would be green without a step")
		}
	})
}

// What a proxy answers while the server behind it starts says nothing about the call.
func TestRefusalsOfAServerThatAnsweredBeforePass(t *testing.T) {
	for _, code := range []int{401, 403, 404, 500, 502} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			b := newBench(t)
			b.start(nil)
			for _, call := range []string{callDetails, "PUT /rpc/v2/stage/{id}", "PUT /rpc/v2/step/{id}", "POST /rpc/v2/step/{id}/logs/upload"} {
				b.server.Refuse(call, code, 4)
			}
			if s := b.server.Ended(b.server.Push(steps("a: commands: ['echo text', exit 3]"), nil)); outcome(s) != "clone=success a=failure(3) failure" || !strings.Contains(s.Step("a").Text(), "text") {
				t.Errorf("%s %s", outcome(s), s.Error)
			}
		})
	}
}

// A stage that was accepted and cannot be run is not left as it is.
func TestDetailsThatCannotBeHad(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) { o.Outage = time.Second })
	b.server.Lose(callDetails, 1)
	b.server.Refuse(callDetails, 500, 1<<16)
	if s := b.server.Ended(b.server.Push(steps("a: commands: [echo]"), nil)); s.Status != "error" || !strings.Contains(s.Error, "injected fault") {
		t.Errorf("%s %s", s.Status, s.Error)
	}
}

func TestCancelBeforeTheStageBegins(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	b.server.Slow(callDetails, 500*time.Millisecond, 1)
	id := b.server.Push(steps("a: commands: [echo]"), nil)
	b.server.Until("the details", func() bool { return b.server.CallsLocked(callDetails) > 0 })
	b.server.Cancel(id)
	b.server.Ended(b.server.Push(steps("a: commands: [echo]"), nil)) // the runner goes on
	if s := b.server.Get(id); s.Status != "killed" || s.Over || len(s.Steps) > 0 {
		t.Errorf("%+v", s)
	}
}

// A server that is not up yet is waited for, whatever stands in its place.
func TestFirstContactWaitsForTheServer(t *testing.T) {
	for name, break_ := range map[string]func(s *servertest.Server){
		"502":                        func(s *servertest.Server) { s.Refuse(callPing, 502, 3) },
		"503":                        func(s *servertest.Server) { s.Refuse(callPing, 503, 3) },
		"504":                        func(s *servertest.Server) { s.Refuse(callPing, 504, 3) },
		"404":                        func(s *servertest.Server) { s.Refuse(callPing, 404, 3) },
		"429":                        func(s *servertest.Server) { s.Refuse(callPing, 429, 3) },
		"500":                        func(s *servertest.Server) { s.Refuse(callPing, 500, 3) },
		"a page with the status 200": func(s *servertest.Server) { s.Refuse(callPing, 200, 3) },
		"204":                        func(s *servertest.Server) { s.Refuse(callPing, 204, 3) },
		"connections that break":     func(s *servertest.Server) { s.Lose(callPing, 3) },
		"all of them": func(s *servertest.Server) {
			for _, code := range []int{404, 502, 200, 500, 204} {
				s.Refuse(callPing, code, 1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			break_(b.server)
			b.start(nil)
			b.server.Ended(b.server.Push(steps("a: commands: ['true']"), nil))
		})
	}
}

// What no waiting mends ends a runner at its first contact.
func TestFirstContactThatIsRefused(t *testing.T) {
	for code, want := range map[int]string{401: "check DRONE_RPC_SECRET", 403: "check DRONE_RPC_SECRET", 302: "a runner follows no redirects"} {
		b := newBench(t)
		b.server.Refuse(callPing, code, 1<<10)
		if err := b.start(nil).Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// Answers that come after the runner has given up on them are as good as lost ones.
func TestAnswersThatComeTooLate(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) { o.AnswerTime = time.Second })
	for _, call := range []string{callAccept, callDetails, callPutStep, callBatch, callUpload, callWatch} {
		b.server.Late(call, 1500*time.Millisecond, 1)
	}
	s := b.server.Ended(b.server.Push(steps("a: commands: [echo one]", "b: commands: [echo two, exit 3]"), nil))
	if got := outcome(s); got != "clone=success a=success b=failure(3) failure" || s.Step("a").Text() != "+ echo one\none\n" {
		t.Errorf("%s %q", got, s.Step("a").Text())
	}
}

// At an address that is not a Drone server's, the runner gives up when none has come up there for
// the time of an outage.
func TestAddressOfAnotherServer(t *testing.T) {
	for name, text := range map[string]string{"page": "<html>Welcome</html>", "JSON": `{"status": "ok"}`} {
		t.Run(name, func(t *testing.T) {
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
			defer other.Close()
			b := newBench(t)
			w := b.start(func(o *drone.Options) { o.Server, o.Outage = other.URL, time.Millisecond })
			if err := w.Err(); err == nil || !strings.Contains(err.Error(), "not one of a Drone server (check DRONE_RPC_HOST)") {
				t.Error(err)
			}
		})
	}
}
