package foreign

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// suite is a package of another project with tests of what it unpacks.
type suite struct {
	name string // folder of testdata with the file that is added to the package
	pkg  string
	// The function in this file, whose declaration begins with this text, gives way to ours and
	// is declared with another text.
	file, theirs, renamed string
	run                   string // tests that unpack; the others are of the project's own business
	args                  string // of the test binary
	atLeast               int    // tests and subtests that run, so that none is lost unseen
}

var suites = []suite{
	{
		name: "containerd", pkg: "github.com/containerd/containerd/v2/pkg/archive",
		file: "tar.go", theirs: "func applyNaive(", renamed: "func theirApplyNaive(",
		run:     "^(TestUnpack|TestBreakouts|TestApplyTar|TestDiffApply|TestSymlinks|TestRelativeSymlinks|TestTarWithXattr|TestPrefixHeaderReadable)$",
		args:    "-test.root", // run the tests that need root
		atLeast: 49,
	},
	{
		name: "umoci", pkg: "github.com/opencontainers/umoci/oci/layer",
		file: "tar_extract.go", theirs: "func (te *TarExtractor) UnpackEntry(", renamed: "func (te *TarExtractor) theirUnpackEntry(",
		run:     "^(TestUnpackEntrySanitiseScoping|TestUnpackEntrySymlinkScoping|TestUnpackEntryNonDirParent|TestUnpackEntryParentDir|TestUnpackEntryWhiteout|TestUnpackOpaqueWhiteout|TestUnpackHardlink)$",
		atLeast: 20,
	},
	{
		name: "ggcr", pkg: "github.com/google/go-containerregistry/pkg/v1/mutate",
		file: "mutate.go", theirs: "func Extract(", renamed: "func theirExtract(",
		run:     "^TestExtract(Whiteout|WhiteoutDir|OverwrittenFile|OpaqueWhiteout|RoundTrip|SymlinkFiltering|RejectsUnsafeArchivePaths|VerifiesLayerDigest)$",
		atLeast: 10,
	},
}

func TestSuites(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			results := s.results(t)
			if len(results) < s.atLeast {
				t.Errorf("%d tests ran, want %d", len(results), s.atLeast)
			}
			passed := 0
			for name, result := range results {
				why, differs := differences[s.name+"/"+name]
				switch {
				case result.passed && differs:
					t.Errorf("%s passes; remove it from the differences (%s)", name, why)
				case !result.passed && !differs:
					t.Errorf("%s fails:\n%s", name, result.output.String())
				case result.passed:
					passed++
				}
			}
			for listed := range differences {
				if name, ours := strings.CutPrefix(listed, s.name+"/"); ours && results[name] == nil {
					t.Errorf("%s is in the differences and does not run", name)
				}
			}
			t.Logf("%d of %d passed", passed, len(results))
		})
	}
}

// result is that of a test without subtests.
type result struct {
	passed bool
	output strings.Builder
}

// results runs the suite and returns the results by the names of the tests. A test with subtests
// is left out: its result is theirs.
func (s suite) results(t *testing.T) map[string]*result {
	cmd := exec.Command("go", "test", "-json", "-vet=off", "-count=1", "-modfile", s.replaced(t), "-run", s.run, s.pkg)
	if s.args != "" {
		cmd.Args = append(cmd.Args, "-args", s.args)
	}
	var failure bytes.Buffer
	cmd.Stderr = &failure
	out, _ := cmd.Output() // that tests fail is in the output
	results, groups := map[string]*result{}, map[string]bool{}
	get := func(name string) *result {
		if results[name] == nil {
			results[name] = new(result)
		}
		return results[name]
	}
	var built strings.Builder
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var event struct{ Action, Test, Output string }
		if err := decoder.Decode(&event); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, failure.String())
		}
		built.WriteString(event.Output)
		if event.Test == "" {
			continue
		}
		if above, _, isSub := cutLast(event.Test, "/"); isSub {
			groups[above] = true
		}
		switch event.Action {
		case "pass":
			get(event.Test).passed = true
		case "fail", "skip":
			get(event.Test)
		case "output":
			get(event.Test).output.WriteString(event.Output)
		}
	}
	if len(results) == 0 {
		t.Fatalf("no test ran:\n%s\n%s", built.String(), failure.String())
	}
	for name := range groups {
		delete(results, name)
	}
	return results
}

// cutLast slices s around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// replaced copies the module of the suite, changes the copy, and returns a go.mod file with which
// it takes the place of the module itself.
func (s suite) replaced(t *testing.T) (modfile string) {
	module, dir, _ := strings.Cut(goList(t, "{{.Module.Path}} {{.Module.Dir}}", s.pkg), " ")
	tmp := t.TempDir()
	clone := filepath.Join(tmp, "module")
	if out, err := exec.Command("cp", "--recursive", "--no-preserve=mode", dir, clone).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	pkg := filepath.Join(clone, strings.TrimPrefix(s.pkg, module))
	source := read(t, filepath.Join(pkg, s.file))
	if n := strings.Count(source, s.theirs); n != 1 {
		t.Fatalf("%s has %q %d times", s.file, s.theirs, n)
	}
	write(t, filepath.Join(pkg, s.file), strings.Replace(source, s.theirs, s.renamed, 1))
	write(t, filepath.Join(pkg, "stepexec.go"), read(t, filepath.Join("testdata", s.name, "stepexec.go")))
	modfile = filepath.Join(tmp, "go.mod")
	write(t, modfile, read(t, "go.mod")+"\nreplace "+module+" => "+clone+"\n")
	write(t, filepath.Join(tmp, "go.sum"), read(t, "go.sum"))
	return modfile
}

func read(t *testing.T, file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func write(t *testing.T, file, content string) {
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func goList(t *testing.T, format, pkg string) string {
	out, err := exec.Command("go", "list", "-f", format, pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}
