package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/stepexec/stepexec/"

// TestPackagesImportOnlyWhatTheArchitectureAllows holds the code to the table
// of docs/architecture.md: data flows one way.
func TestPackagesImportOnlyWhatTheArchitectureAllows(t *testing.T) {
	allowed := map[string][]string{
		"container":               {},
		"pipeline":                {"container", "egress", "pipeline/tree", "pipeline/yamlfault"},
		"egress":                  {},
		"artifact":                {"beneath"},
		"cache":                   {"beneath"},
		"cache/registry":          {"cache", "pull"},
		"cache/s3":                {"cache", "pull"},
		"testreport":              {"event"},
		"beneath":                 {},
		"trace":                   {"event"},
		"pull":                    {"beneath", "crash", "signature"},
		"rootless":                {},
		"signature":               {},
		"provenance":              {"signature"},
		"unpack":                  {"beneath", "crash", "rootless", "signature", "unpack/gunzip", "unpack/erofs"},
		"unpack/gunzip":           {},
		"unpack/erofs":            {},
		"archive":                 {"unpack"},
		"policy":                  {"beneath", "container", "egress", "logs", "pipeline", "pipeline/yamlfault", "pull", "signature"},
		"lockfile":                {},
		"sandbox":                 {"beneath", "container", "crash", "egress", "rootless", "sandbox/childinit", "sandbox/forkserver", "sandbox/guardwait", "sandbox/network", "unpack/erofs"},
		"sandbox/childinit":       {},
		"sandbox/forkserver":      {},
		"sandbox/guardwait":       {},
		"sandbox/network":         {"container", "crash", "egress"},
		"logs":                    {},
		"event":                   {"logs"},
		"crash":                   {},
		"demo":                    {},
		"schedule":                {},
		"fetch":                   {"container", "crash", "event", "pull", "signature", "unpack"},
		"engine":                  {"artifact", "beneath", "cache", "container", "crash", "event", "fetch", "pipeline", "policy", "pull", "unpack", "sandbox", "schedule", "logs", "egress", "sandbox/network", "testreport"},
		"pipeline/drone":          {"pipeline", "pipeline/envsubst"},
		"pipeline/envsubst":       {"pipeline"},
		"pipeline/export":         {"pipeline", "pipeline/envsubst", "pipeline/tree", "pipeline/woodpecker"},
		"pipeline/tree":           {},
		"pipeline/portable":       {"pipeline", "pipeline/envsubst"},
		"pipeline/yamlfault":      {},
		"pipeline/woodpecker":     {"pipeline", "pipeline/envsubst"},
		"runner":                  {"crash", "event", "runner/health", "run"},
		"runner/actions":          {"beneath", "crash", "run", "runner", "policy", "event", "engine", "pipeline", "pull", "rootless", "sandbox", "sandbox/network"},
		"runner/health":           {},
		"runner/journal":          {},
		"runner/drone":            {"crash", "run", "runner", "runner/health", "runner/journal", "policy", "event", "pipeline", "pipeline/drone"},
		"report":                  {"event", "logs"},
		"report/live":             {"crash", "event", "logs", "report"},
		"report/github":           {"event", "logs", "report"},
		"record":                  {"crash", "event"},
		"ui":                      {"beneath", "crash", "event", "logs", "record", "report", "run", "sandbox", "settings", "unpack"},
		"doctor":                  {"unpack/erofs", "sandbox", "sandbox/network"},
		"settings":                {"pull", "pipeline/yamlfault", "rootless", "signature", "unpack"},
		"run":                     {"artifact", "beneath", "cache", "cache/registry", "cache/s3", "crash", "egress", "event", "engine", "fetch", "lockfile", "logs", "pipeline", "pipeline/drone", "pipeline/woodpecker", "pull", "policy", "provenance", "record", "rootless", "sandbox", "schedule", "settings", "trace", "unpack"},
		"cmd/stepexec":            {"archive", "artifact", "beneath", "cache", "demo", "egress", "run", "trace", "doctor", "rootless", "settings", "policy", "pipeline", "pipeline/drone", "lockfile", "pull", "unpack", "unpack/erofs", "sandbox", "sandbox/network", "logs", "event", "fetch", "engine", "record", "report", "report/live", "pipeline/portable", "pipeline/export", "pipeline/woodpecker", "runner", "runner/actions", "runner/drone", "runner/woodpecker", "report/github", "ui", "signature", "provenance"},
		"runner/woodpecker":       {"cache", "crash", "run", "runner", "runner/health", "runner/journal", "runner/woodpecker/unary", "runner/woodpecker/wire", "policy", "event", "pipeline", "pipeline/woodpecker", "pull"},
		"runner/woodpecker/unary": {},
		"runner/woodpecker/wire":  {"runner/woodpecker/unary"},
	}
	list := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		may, ok := allowed[name]
		if !ok {
			continue // fixtures and tools
		}
		seen++
		for _, path := range p.Imports {
			if ours, ok := strings.CutPrefix(path, module); ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("found %d of %d packages", seen, len(allowed))
	}
}
