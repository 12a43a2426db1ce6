package pipeline_test

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// FuzzParse: no file makes Parse panic or run away, an error has a place and
// belongs to the file, and what Parse takes Plan takes too.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"valid", "invalid"} {
		files, err := fixtureFiles(folder)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			if data := read(f, file); len(data) < 4096 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := pipeline.Parse("f", data)
		if err != nil {
			checkErrors(t, err)
			return
		}
		p.EnvFiles = nil // no fuzzer shall read this machine's files
		for i := range p.Steps {
			p.Steps[i].EnvFiles, p.Steps[i].SpecFile = nil, ""
		}
		for i := range p.Services {
			p.Services[i].EnvFiles, p.Services[i].SpecFile = nil, ""
		}
		plan, err := p.Plan(pipeline.Inputs{Workspace: "/w"})
		if err != nil {
			checkErrors(t, err)
			return
		}
		for _, s := range slices.Concat(plan.Steps, plan.Services) {
			for _, m := range s.Mounts {
				checkMount(t, m)
			}
			if dir := path.Clean(s.Directory); dir == "/proc" || strings.HasPrefix(dir, "/proc/") {
				t.Errorf("directory %q", s.Directory)
			}
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	var list pipeline.Errors
	if !errors.As(err, &list) || len(list) == 0 || len(list) > 100 {
		t.Fatalf("bad list: %T %v", err, err)
	}
	for _, e := range list {
		if e.File != "f" || e.Line < 1 || e.Message == "" {
			t.Errorf("error without place: %#v", e)
		}
	}
}

// FuzzMountString: whatever the text, a mount that is accepted is complete, has a
// clean destination outside the forbidden places, and no option twice over.
func FuzzMountString(f *testing.F) {
	for _, text := range []string{
		"type=bind,src=/etc,dst=/host-etc,options=rbind:ro", "type=tmpfs,destination=/tmp,options=size=64m:mode=1777",
		`"src=/a,b",target=/c,readonly`, "src=/a,dst=/proc", "src=/a,dst=//run/../run/secrets", "dst==,src=", "/a:/b:ro", "a:/b", ":::", "\x00:/\x00",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := pipeline.ParseMount(text); err == nil {
			checkMount(t, m)
		}
		if m, err := pipeline.ParseVolume(text); err == nil {
			checkMount(t, m)
		}
	})
}

func checkMount(t *testing.T, m pipeline.Mount) {
	t.Helper()
	if m.Type != "bind" && m.Type != "tmpfs" || m.Source == "" {
		t.Errorf("incomplete: %#v", m)
	}
	if m.Destination != path.Clean(m.Destination) || !path.IsAbs(m.Destination) || m.Destination == "/" {
		t.Errorf("destination %q", m.Destination)
	}
	for _, dir := range []string{"/proc", "/sys", "/run/secrets"} {
		if m.Destination == dir || strings.HasPrefix(m.Destination, dir+"/") {
			t.Errorf("destination %q", m.Destination)
		}
	}
	if strings.ContainsRune(m.Source+m.Destination, 0) {
		t.Errorf("NUL in %#v", m)
	}
	bind := slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
	if bind != (m.Type == "bind") {
		t.Errorf("options %q of a %s mount", m.Options, m.Type)
	}
}
