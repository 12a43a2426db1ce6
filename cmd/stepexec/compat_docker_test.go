package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
)

var update = flag.Bool("update", false, "write docs/compat-docker.md")

// leastWorking and leastTried keep the table from shrinking unseen.
const (
	leastTried   = 115
	leastWorking = 100
)

// typedLine is a command line of another program.
type typedLine struct {
	program string // as in the headings of the file
	typed   string
	prints  string // regular expression of the standard output; "": the line is to be refused
}

func typedLines(t *testing.T) (lines []typedLine) {
	text, err := os.ReadFile("testdata/compat-docker.txt")
	if err != nil {
		t.Fatal(err)
	}
	program := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		heading, isHeading := strings.CutPrefix(line, "# ")
		switch {
		case isHeading && !strings.Contains(heading, " "):
			program = heading
		case line != "" && !isHeading && program != "":
			typed, prints, _ := strings.Cut(line, " => ")
			lines = append(lines, typedLine{program, typed, prints})
		}
	}
	return lines
}

var (
	runCommand = regexp.MustCompile(`\b(docker|podman|nerdctl) run\b`)
	ctrCommand = regexp.MustCompile(`\bctr run\b`)
	digits     = regexp.MustCompile(`127\.0\.0\.1:[0-9]{5}/tcp`)
	slow       = regexp.MustCompile(`(?m)^image \S+ ready after .*\n?`) // said when it took a second
)

// here is the line with the program's name changed, and nothing else.
func (l typedLine) here() string {
	line := runCommand.ReplaceAllString(l.typed, `stepexec step --root "$$ROOT"`)
	return ctrCommand.ReplaceAllString(line, `stepexec ctr-run --root "$$ROOT"`)
}

// TestLinesOfOtherProgramsAreUnderstood types command lines of docker, podman, nerdctl and ctr
// with the name of the program changed, and holds docs/compat-docker.md to what came of them.
func TestLinesOfOtherProgramsAreUnderstood(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the lines ask for what only root can give")
	}
	image, err := fixtures.BusyboxImage()
	if err != nil {
		t.Fatal(err)
	}
	layout := filepath.Join(t.TempDir(), "layout")
	if err := image.WriteLayout(layout, "latest"); err != nil {
		t.Fatal(err)
	}
	pushed, err := fixtures.FromLayout(layout, "latest")
	if err != nil {
		t.Fatal(err)
	}
	mirror := registry.Start(t, registry.Options{})
	for _, name := range []string{"alpine:latest", "alpine:3.20", "busybox:latest"} {
		mirror.Push(t, "library/"+name, pushed)
	}
	root := filepath.Join(t.TempDir(), "root")
	settings := filepath.Join(t.TempDir(), "settings.yml")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(settings, "registries:\n  docker.io:\n    mirrors: ["+mirror.Host+"]\n  "+mirror.Host+":\n    http: true\n")
	t.Cleanup(func() { waitForRuns(t, root) }) // those in the background
	static := buildStatic(t)
	lines := typedLines(t)
	results := make([]string, len(lines))
	t.Run("lines", func(t *testing.T) {
		for i, line := range lines {
			t.Run(line.typed, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				write(filepath.Join(dir, "notes.txt"), "a note\n")
				write(filepath.Join(dir, "data", "file"), "data\n")
				write(filepath.Join(dir, "vars.env"), "A=pa$Word\nB=\"quoted\"\n")
				cmd := exec.Command("sh", "-c", line.here())
				var stdout, stderr bytes.Buffer
				cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
				cmd.Env = append(os.Environ(), "PWD="+dir, "ROOT="+root, "STEPEXEC_SETTINGS="+settings)
				if strings.Contains(line.typed, " --init ") { // busybox's image has no libraries for a test's program
					cmd.Env = append(cmd.Env, "PATH="+static+":"+os.Getenv("PATH"))
				}
				err := cmd.Run()
				said := digits.ReplaceAllString(strings.ReplaceAll(stderr.String(), dir, "$PWD"), "127.0.0.1:PORT/tcp")
				said = slow.ReplaceAllString(strings.ReplaceAll(said, "stepexec: ", ""), "")
				said = strings.TrimSpace(said)
				switch {
				case line.prints == "" && (err == nil || cmd.ProcessState.ExitCode() != 125):
					t.Errorf("it is not refused with exit code 125: %v\n%s%s", err, &stdout, said)
				case line.prints == "":
					results[i] = "error: " + said
				case err != nil:
					t.Errorf("%v\n%s%s", err, &stdout, said)
				case !regexp.MustCompile("(?m)" + line.prints).MatchString(strings.TrimSuffix(strings.ReplaceAll(stdout.String(), "\r", ""), "\n")):
					t.Errorf("it prints, and not %q:\n%s%s", line.prints, &stdout, said)
				case said != "":
					results[i] = "works; note: " + said
				default:
					results[i] = "works"
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	checkCompatDocument(t, lines, results)
}

// buildStatic builds the program as users get it, and returns its directory.
func buildStatic(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/stepexec", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// waitForRuns waits until nothing of a run is left.
func waitForRuns(t *testing.T, root string) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(root, "runs", "*"))
		switch {
		case err != nil:
			t.Fatal(err)
		case len(left) == 0:
			return
		case time.Now().After(end):
			t.Fatalf("after a minute there is %v", left)
		}
	}
}

func checkCompatDocument(t *testing.T, lines []typedLine, results []string) {
	const file = "../../docs/compat-docker.md"
	want, working := compatDocument(lines, results)
	if len(lines) < leastTried || working < leastWorking {
		t.Errorf("%d of %d lines work: there must be %d of %d at least", working, len(lines), leastWorking, leastTried)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the lines did (go test ./cmd/stepexec -run %s -update writes it): %v", file, t.Name(), err)
	}
}

func compatDocument(lines []typedLine, results []string) (text string, working int) {
	for _, result := range results {
		if strings.HasPrefix(result, "works") {
			working++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Command lines of docker, podman, nerdctl and ctr

What people type runs here with the name of the program changed: %s,
%s and %s are %s, and %s, which has an ID behind
the image, is %s. The flags are described in [step.md](step.md).

A test types every line below on a machine with root and compares what it prints; it writes this page.
%d of %d lines work. A note is one line on standard error. An error ends with exit code 125 before anything
has run.
`, "`docker run`", "`podman run`", "`nerdctl run`", "`stepexec step`", "`ctr run`", "`stepexec ctr-run`", working, len(lines))
	program := ""
	for i, line := range lines {
		if line.program != program {
			program = line.program
			fmt.Fprintf(&b, "\n## %s\n\n| typed | here |\n|---|---|\n", program)
		}
		result := strings.NewReplacer("\n", "<br>", "|", `\|`, "*", `\*`, "<", "&lt;").Replace(results[i])
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(line.typed, "|", `\|`), result)
	}
	return b.String(), working
}
