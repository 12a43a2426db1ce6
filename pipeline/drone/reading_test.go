package drone_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/drone"
)

func TestOnePipelineThatIsWrongLeavesTheOthersAlone(t *testing.T) {
	const text = "kind: pipeline\nname: good\nsteps: [{name: a, image: x, commands: [make]}]\n---\n" +
		"kind: pipeline\nname: bad\nsteps: [{name: a, imag: x}]\n---\n" +
		"kind: pipeline\nname: foreign\ntype: ssh\nserver: {host: x}\nsteps: [{name: a, comands: [make]}]\n"
	set, err := drone.Parse("file.yml", []byte(text), drone.Options{})
	if err != nil {
		t.Fatal(err)
	}
	good, bad, foreign := set.Workflows[0], set.Workflows[1], set.Workflows[2]
	if good.Wrong != nil || len(good.Steps) != 1 {
		t.Errorf("good: %v", good.Wrong)
	}
	if !strings.Contains(bad.Wrong.Error(), `file.yml:7:19: steps[0].imag: unknown key (did you mean "image"?)`) {
		t.Errorf("bad: %v", bad.Wrong)
	}
	if !strings.Contains(foreign.Wrong.Error(), `comands: unknown key`) || len(foreign.Wrong) != 1 || !strings.HasPrefix(foreign.LeftOut, "its type is ssh") {
		t.Errorf("foreign: %v, left out: %s", foreign.Wrong, foreign.LeftOut)
	}
	if len(set.Warnings) > 0 {
		t.Errorf("warnings of another runner's keys: %v", set.Warnings)
	}
}

func TestVolumesOfAnotherKindAreWrongWhereTheyAreMounted(t *testing.T) {
	const volumes = "kind: pipeline\nvolumes: [{name: c, claim: {name: x}}, {name: g, host: {path: /sys/fs/cgroup}}]\nsteps: [{name: a, image: x, commands: [make], volumes: [{name: "
	set, err := drone.Parse("file.yml", []byte(volumes+"g, path: /sys/fs/cgroup}]}]"), drone.Options{})
	if err != nil || len(set.Workflows[0].Steps[0].Mounts) != 0 {
		t.Errorf("%v", err)
	}
	_, err = drone.Parse("file.yml", []byte(volumes+"c, path: /c}]}]"), drone.Options{})
	if err == nil || !strings.Contains(err.Error(), `the volume "c" is neither of the host nor temporary`) {
		t.Errorf("%v", err)
	}
}

func TestVariablesThatAreReplacedByNothingAreTold(t *testing.T) {
	const text = "kind: pipeline\nsteps:\n- {name: a, image: x, commands: ['echo ${A} ${B:-x} ${C} $${D} ${DRONE_TAG} ${E:0:3} ${F=x}']}\n"
	set, err := drone.Parse("file.yml", []byte(text), drone.Options{Params: map[string]string{"C": "c"}})
	if err != nil {
		t.Fatal(err)
	}
	got := set.Warnings.Error()
	if len(set.Warnings) != 2 || !strings.Contains(got, "file.yml:3: ${A} is replaced by nothing") || !strings.Contains(got, "file.yml:3: ${E} is replaced by nothing") {
		t.Errorf("%s", got)
	}
}

// Drone knows a secret as a whole setting only. Inside of a list or a map the plugin gets the map.
func TestSecretsInsideOfSettingsAreText(t *testing.T) {
	text := "kind: pipeline\nsteps: [{name: a, image: x, settings: {l: [{from_secret: s}, b], m: {k: {from_secret: s}}, top: {from_secret: s}}}]\n"
	set, err := drone.Parse("file.yml", []byte(text), push())
	if err != nil || len(set.Workflows[0].Wrong) > 0 {
		t.Fatal(err, set.Workflows[0].Wrong)
	}
	if len(set.Warnings) != 2 || !strings.Contains(set.Warnings.Error(), "Drone puts no secret inside of a list or a map") {
		t.Errorf("%v", set.Warnings)
	}
	plan, err := set.Workflows[0].Plan(pipeline.Inputs{Dir: t.TempDir(), Secrets: map[string]string{"s": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(plan.Steps[0].Env, "\n")
	for _, want := range []string{`PLUGIN_L=[{"from_secret":"s"},"b"]`, `PLUGIN_M={"k":{"from_secret":"s"}}`, "PLUGIN_TOP=secret"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	o := push()
	o.Raw = true
	if set, err := drone.Parse("file.yml", []byte(text), o); err == nil && len(set.Workflows[0].Wrong) == 0 {
		t.Error("could be converted, although others take it for a secret")
	}
}
