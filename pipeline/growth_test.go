package pipeline_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// A file of strangers must not cost more than in proportion to its size. Memory stands for work here: it does
// not depend on what else the machine does.
func TestParseTakesMemoryInProportionToTheFile(t *testing.T) {
	repeat := func(n int, item string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(item, "N", fmt.Sprint(i))
		}
		return strings.Join(items, ", ")
	}
	step := func(key string) string { return "steps: [{name: a, image: b, commands: [x], " + key + "}]\n" }
	shapes := map[string]func(n int) string{
		"values on one line": func(n int) string { return "x-a: [" + repeat(n, `"aN"`) + "]\n" + step("") },
		"commands":           func(n int) string { return step("environment: {A: b}, shell: [" + repeat(n, "sh") + "]") },
		"variables":          func(n int) string { return step("environment: {" + repeat(n, "VN: x") + "}") },
		"secrets":            func(n int) string { return step("secrets: [" + repeat(n, "sN") + "]") },
		"hosts":              func(n int) string { return step("extra_hosts: [" + repeat(n, `"hN:10.0.0.1"`) + "]") },
		"mounts":             func(n int) string { return step("mounts: [" + repeat(n, "{type: tmpfs, target: /mN}") + "]") },
		"conditions":         func(n int) string { return step("when: [" + repeat(n, "{branch: bN}") + "]") },
		"volumes":            func(n int) string { return "volumes: [" + repeat(n, "vN") + "]\n" + step("") },
		"merged maps":        func(n int) string { return "x-a: &a {name: c}\n" + step("<<: ["+repeat(n, "*a")+"]") },
		"comments":           func(n int) string { return strings.Repeat("# c\n", n) + step("") },
		"lines of a script":  func(n int) string { return step("user: \"\\\n" + strings.Repeat("  \\\n", n) + "  1\"") },
		"unknown keys":       func(n int) string { return step(repeat(n, "kN: 1")) },
		"steps": func(n int) string {
			return "steps: [" + repeat(n/10, "{name: sN, image: b, commands: [x], depends_on: []}") + "]\n"
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			few, many := parseMemory(shape(1000)), parseMemory(shape(8000))
			if many > 8*few*3/2 {
				t.Errorf("1000 take %d bytes, 8000 take %d: more than in proportion", few, many)
			}
		})
	}
}

// parseMemory is how many bytes are allocated, all in all, to parse a file.
func parseMemory(file string) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = pipeline.Parse("f", []byte(file))
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestParseRefusesTooMuchByName(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"steps":  {"steps: [" + strings.Repeat("{}, ", 1001) + "]", "f:1:1: the file has 1001 steps and services, more than the 1000 allowed"},
		"values": {"steps: [" + strings.Repeat("1, ", 1<<16) + "]", "f:1:8: the file has more than some 65536 values (split it, or write fewer and longer values)"},
		"bytes":  {strings.Repeat("#", 1<<20+1), "f:1:1: the file has more than the 1048576 bytes allowed"},
	} {
		if _, err := pipeline.Parse("f", []byte(test.file)); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The ! of YAML is found by its column in characters.
func TestALoneBangBehindLettersOfManyBytes(t *testing.T) {
	for file, want := range map[string]string{
		"steps: [{name: a, image: b, commands: [\"äöü\", ! x]}]":         "f:1:47: YAML takes the ! for a tag, and the value would lose it (put it in quotes: '! x')",
		"steps:\n- {name: a, image: b, commands: [ä, ö, ! grep -q x]}\n": "f:2:40: YAML takes the ! for a tag, and the value would lose it (put it in quotes: '! grep -q x')",
	} {
		if _, err := pipeline.Parse("f", []byte(file)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, file := range []string{"steps: [{name: a, image: b, commands: [\"ä ! x\"]}]", "steps: [{name: a, image: b, commands: ['! x']}]"} {
		if _, err := pipeline.Parse("f", []byte(file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
