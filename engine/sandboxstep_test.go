package engine

import (
	"reflect"
	"testing"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
)

// engineFields are the fields of a planned step that the engine itself obeys, so that the
// sandbox's step does not have them.
var engineFields = map[string]string{
	"Platform":      "chooses the image",
	"Pull":          "chooses the image",
	"Line":          "for messages",
	"Reason":        "for messages",
	"SecretEnv":     "for kept steps; Env has the values",
	"File":          "for messages",
	"Authored":      "for the policy",
	"DependsOn":     "order",
	"Needs":         "order",
	"Detach":        "order",
	"Serves":        "how it may end",
	"RunOn":         "order",
	"Ready":         "order",
	"Keep":          "after the step",
	"Artifacts":     "after the step",
	"IgnoreFailure": "after the step",
	"FailsFast":     "after the step",
	"EndsRun":       "after the step",
	"Retry":         "after the step",
	"Reports":       "after the step",
	"Withheld":      "for a warning",
	"Timeout":       "time",
	"Exports":       "a mount that needs a host",
	"Masks":         "a mount that needs a host",
	"Stdin":         "opened when the step is prepared",
	"Output":        "opened when the step is prepared",
	"OutputLimit":   "the log",
	"Caches":        "a mount that needs a host",
}

func TestEveryFieldOfAPlannedStepReachesTheSandboxOrTheEngine(t *testing.T) {
	nothing := sandboxStepOf(t, pipeline.PlannedStep{})
	var check func(path string, of reflect.Type, index []int)
	check = func(path string, of reflect.Type, index []int) {
		for i := range of.NumField() {
			field := of.Field(i)
			name, at := path+field.Name, append(index[:len(index):len(index)], i)
			switch field.Type {
			case reflect.TypeFor[pipeline.Names](), reflect.TypeFor[pipeline.Limits](),
				reflect.TypeFor[pipeline.Security](), reflect.TypeFor[pipeline.Advanced]():
				check(name+".", field.Type, at)
				continue
			}
			var step pipeline.PlannedStep
			reflect.ValueOf(&step).Elem().FieldByIndex(at).Set(sample(t, field.Type))
			reaches := !reflect.DeepEqual(sandboxStepOf(t, step), nothing)
			if _, engines := engineFields[name]; reaches == engines {
				t.Errorf("%s: reaches the sandbox: %t; listed as the engine's own: %t", name, reaches, engines)
			}
		}
	}
	check("", reflect.TypeFor[pipeline.PlannedStep](), nil)
}

// sandboxStepOf returns what the engine makes of a step that is alone in its plan.
func sandboxStepOf(t *testing.T, step pipeline.PlannedStep) *sandbox.Step {
	t.Helper()
	step.Exports, step.Masks = false, false // need a host
	step.DependsOn, step.Needs = nil, nil   // need other steps
	step.Detach = false                     // makes the step's name a host name
	admitted, err := policy.Trusted().Admit(&pipeline.Plan{Steps: []pipeline.PlannedStep{step}}, policy.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(admitted, admitted.Plan(), Options{})
	mounts, err := r.mounts(r.nodes[0], &restoration{})
	if err != nil {
		t.Fatal(err)
	}
	made := r.sandboxStep(r.nodes[0], &fetch.Image{}, mounts)
	made.Refused = nil // functions are never equal
	return made
}

// sample returns a value that differs from the zero value in every part.
func sample(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
		if of == reflect.TypeFor[pipeline.RunFact]() {
			v.SetString(string(pipeline.RunStatus))
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Slice:
		v = reflect.Append(v, sample(t, of.Elem()))
	case reflect.Map:
		v = reflect.MakeMap(of)
		v.SetMapIndex(sample(t, of.Key()), sample(t, of.Elem()))
	case reflect.Pointer:
		v = reflect.New(of.Elem())
		v.Elem().Set(sample(t, of.Elem()))
	case reflect.Struct:
		for i := range of.NumField() {
			if of.Field(i).IsExported() {
				v.Field(i).Set(sample(t, of.Field(i).Type))
			}
		}
	default:
		t.Fatalf("no sample of a %s", of)
	}
	return v
}
