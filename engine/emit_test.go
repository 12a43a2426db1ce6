package engine

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// TestShownMasksEveryText fills every text of a result, also in what is added to it later, with a secret.
func TestShownMasksEveryText(t *testing.T) {
	var result event.StepResult
	fill(t, reflect.ValueOf(&result).Elem())
	mask := logs.NewMask([]string{"Hunter2Hunter2"})
	r := &run{fixed: mask, mask: mask.Clone()}
	shown := r.shown(result)
	// These come from stepexec itself, and are no text of a pipeline, an image or a step.
	shown.Status, shown.Digest, shown.DoneIn = "", "", ""
	for i := range shown.Attempts {
		shown.Attempts[i].Status = ""
	}
	for i := range shown.Egress {
		shown.Egress[i].Kind, shown.Egress[i].Address, shown.Egress[i].Protocol = "", "", ""
	}
	for i := range shown.Caches {
		shown.Caches[i].Restored = ""
	}
	text, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(string(text)), "hunter2") {
		t.Errorf("a secret is left in %s", text)
	}
	if !strings.Contains(string(text), "***.example.com") {
		t.Errorf("the name of a connection is not in %s", text)
	}
}

// fill sets every string below v to a secret.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("hunter2hunter2.example.com") // as a resolver writes names: in lower case
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	default: // numbers and truth values
	}
}
