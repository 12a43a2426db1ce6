package fleet_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	workflows "github.com/stepexec/stepexec/pipeline/woodpecker"
	drone "github.com/stepexec/stepexec/runner/drone/servertest"
	woodpecker "github.com/stepexec/stepexec/runner/woodpecker/servertest"
)

// textKilled is what runners say of a build that they could not end.
const textKilled = "the runner was killed"

// woodpeckerServer is a fake Woodpecker server.
type woodpeckerServer struct {
	*woodpecker.Server
	t   *testing.T
	ids []string
}

func newWoodpecker(t *testing.T) server {
	return &woodpeckerServer{Server: woodpecker.New(t, nil), t: t}
}

func (s *woodpeckerServer) address() string       { return s.Address() }
func (s *woodpeckerServer) polls() int            { return s.Calls("Next") }
func (s *woodpeckerServer) calls() map[string]int { return s.AllCalls() }

func (s *woodpeckerServer) wait(what string, holds func() bool) { s.Until(what, holds) }

func (s *woodpeckerServer) push() {
	c := &workflows.Config{Volume: "wp", Network: "wp"}
	for _, name := range []string{"build", "test", "publish"} {
		c.Stages = append(c.Stages, workflows.Stage{Steps: []*workflows.Step{{
			Name: name, Type: workflows.TypeCommands, Image: "alpine", Commands: []string{"make " + name}, OnSuccess: true, Failure: "fail",
			WorkspaceBase: "/woodpecker", WorkingDir: "/woodpecker/src", Volumes: []string{"wp:/woodpecker"}, Environment: map[string]string{"CI": "woodpecker"},
		}}})
	}
	s.ids = append(s.ids, s.Push(c, 0, nil))
}

func (s *woodpeckerServer) ended() int {
	n := 0
	for _, id := range s.ids {
		if s.Get(id).Done != nil {
			n++
		}
	}
	return n
}

func (s *woodpeckerServer) giveOutAgain(_, folder string, kept func(id string) bool) (lost int) {
	var agent struct {
		ID int64 `json:"agent_id"`
	}
	data, err := os.ReadFile(filepath.Join(folder, "agent.conf"))
	if err == nil {
		err = json.Unmarshal(data, &agent)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.NoPollsOf(agent.ID)
	for _, id := range s.NotBegun(agent.ID) {
		if !kept(id) {
			s.GiveOutAgain(id)
			lost++
		}
	}
	return lost
}

func (s *woodpeckerServer) results(t *testing.T) (good, killed int) {
	for _, id := range s.ids {
		w := s.Get(id)
		wrong := ""
		for _, step := range w.Steps {
			if end := step.End; w.Done.GetError() == "" && (end.GetExitCode() != 0 || end.GetError() != "" || fmt.Sprint(step.Lines) != "[done]") {
				wrong = fmt.Sprintf("step %s: %v %q", step.Name, end, step.Lines)
			}
		}
		switch text := w.Done.GetError(); {
		case wrong != "":
			t.Errorf("workflow %s: %s", id, wrong)
		case text == "":
			good++
		case text == textKilled:
			killed++
		default:
			t.Errorf("workflow %s: %v", id, w.Done)
		}
	}
	return good, killed
}

// droneServer is a fake Drone server.
type droneServer struct {
	*drone.Server
	ids []int64
}

func newDrone(t *testing.T) server {
	s := &droneServer{Server: drone.New(t)}
	s.Fleet()
	return s
}

func (s *droneServer) address() string       { return s.URL() }
func (s *droneServer) polls() int            { return s.CallsLocked("POST /rpc/v2/stage") }
func (s *droneServer) calls() map[string]int { return s.AllCalls() }

func (s *droneServer) wait(what string, holds func() bool) { s.Until(what, holds) }

func (s *droneServer) push() {
	config := "kind: pipeline\nclone: {disable: true}\nsteps:\n"
	for _, name := range []string{"build", "test", "publish"} {
		config += "- {name: " + name + ", image: alpine, commands: [make " + name + "]}\n"
	}
	s.ids = append(s.ids, s.Push(config, nil))
}

func (s *droneServer) ended() int {
	n := 0
	for _, id := range s.ids {
		if s.Over(id) {
			n++
		}
	}
	return n
}

// giveOutAgain has nothing to do: a runner writes down what it is offered before it accepts that, and
// the server offers again what nobody has accepted.
func (s *droneServer) giveOutAgain(string, string, func(string) bool) int { return 0 }

func (s *droneServer) results(t *testing.T) (good, killed int) {
	for _, id := range s.ids {
		st := s.Get(id)
		wrong := ""
		for _, step := range st.Steps {
			if st.Status == "success" && (step.Status != "success" || !strings.HasSuffix(step.Text(), "done\n")) {
				wrong = fmt.Sprintf("step %s: %s %q", step.Name, step.Status, step.Text())
			}
		}
		switch {
		case wrong != "":
			t.Errorf("stage %d: %s", id, wrong)
		case st.Status == "success" && st.ExitCode == 0:
			good++
		case st.Status == "error" && st.Error == textKilled:
			killed++
		default:
			t.Errorf("stage %d: %s %q", id, st.Status, st.Error)
		}
	}
	return good, killed
}
