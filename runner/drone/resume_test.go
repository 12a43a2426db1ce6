package drone_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
	"github.com/stepexec/stepexec/runner/journal"
)

// A runner that was killed after the offer of a stage has it on disk. The next one asks what has
// become of it, and runs it if that is still to be done.
func TestStageOfARunnerThatWasKilledBeforeItBegan(t *testing.T) {
	accepts := func(machine string) func(*testing.T, *servertest.Server, int64) {
		return func(t *testing.T, s *servertest.Server, id int64) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/rpc/v2/stage/"+strconv.FormatInt(id, 10)+"?machine="+machine, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("X-Drone-Token", servertest.Secret)
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
				t.Fatal(answer.Status, err)
			}
			http.DefaultClient.CloseIdleConnections()
		}
	}
	for name, c := range map[string]struct {
		since func(*testing.T, *servertest.Server, int64)
		runs  bool
	}{
		"nobody has accepted it":    {func(*testing.T, *servertest.Server, int64) {}, true},
		"it was accepted":           {accepts("bench"), true},
		"another has accepted it":   {accepts("other"), false},
		"it was cancelled":          {func(_ *testing.T, s *servertest.Server, id int64) { s.Cancel(id) }, false},
		"it was accepted, then not": {func(t *testing.T, s *servertest.Server, id int64) { accepts("bench")(t, s, id); s.Cancel(id) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, dir := newBench(t), t.TempDir()
			id := b.server.Push(steps("a: commands: [echo]"), nil)
			folder, err := journal.Open(dir, "drone "+b.server.URL()+" bench", func(err error) { t.Error(err) })
			if err != nil {
				t.Fatal(err)
			}
			entry, err := folder.Begin("stage " + strconv.FormatInt(id, 10))
			if err != nil {
				t.Fatal(err)
			}
			entry.Add(map[string]any{"stage": map[string]any{"id": id, "name": "default", "status": "pending", "version": 1}})
			if err := entry.Close(); err != nil {
				t.Fatal(err)
			}
			c.since(t, b.server, id)
			w := b.start(func(o *drone.Options) { o.State = dir })
			if c.runs {
				polls := 0
				b.server.Until("its steps", func() bool {
					polls = b.server.CallsLocked(callRequest)
					return len(b.server.Peek(id).Steps) > 0
				})
				if polls > 0 {
					t.Error("a poll had the only room before it")
				}
				if got := outcome(b.server.Ended(id)); got != "clone=success a=success success" {
					t.Error(got)
				}
			}
			for end := time.Now().Add(time.Minute); len(files(t, dir)) > 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("waited in vain for the end of %s", strings.Join(files(t, dir), " "))
				}
			}
			w.Stop()
			if err := w.Err(); err != nil {
				t.Error(err)
			}
			if s := b.server.Get(id); !c.runs && len(s.Steps) > 0 {
				t.Errorf("it has run: %s", outcome(s))
			}
		})
	}
}
