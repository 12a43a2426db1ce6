package demo

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func newShell(out *bytes.Buffer) *shell {
	return &shell{out: out, variable: func(name string) string { return map[string]string{"A": "one two", "b_2": "x"}[name] }}
}

func TestWordsAreSplitAsAShellDoes(t *testing.T) {
	for line, want := range map[string][]string{
		``:                           nil,
		`# comment`:                  nil,
		`echo a#b # c`:               {"echo", "a#b"},
		`echo  'a  b' "c  d"`:        {"echo", "a  b", "c  d"},
		`echo $A "$A" '$A' ${A}z`:    {"echo", "one two", "one two", "$A", "one twoz"},
		`echo $b_2-y`:                {"echo", "x-y"},
		`printf '%s\n' 'it'\''s $A'`: {"printf", `%s\n`, "it's $A"},
		`echo "" a\ b`:               {"echo", "", "a b"},
		"echo\ta":                    {"echo", "a"},
		`echo ${A`:                   {"echo", "{A"},
	} {
		got, err := newShell(&bytes.Buffer{}).words(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", line, got, err, want)
		}
	}
	if _, err := newShell(&bytes.Buffer{}).words(`echo "a`); err == nil {
		t.Error("an open quote is no error")
	}
}

func TestScriptsEndWithTheirFirstFailure(t *testing.T) {
	dir := t.TempDir()
	for script, want := range map[string]struct {
		code int
		out  string
	}{
		"echo a\necho b":                 {0, "a\nb\n"},
		"printf '%s\\n' '+ x'\n\necho a": {0, "+ x\na\n"},
		"exit 7\necho never":             {7, ""},
		"exit\necho never":               {0, ""},
		"cat /nonexistent\necho never":   {1, "cat: open /nonexistent: no such file or directory\n"},
		"rm -rf /\necho never":           {127, "sh: rm: not found (the demo's image knows cat, echo, exit, get, serve and sleep)\n"},
		"echo 'a":                        {2, "sh: a quote ' is not closed\n"},
		"sleep soon":                     {1, "sleep: \"soon\" is not a number of seconds\n"},
		"echo kept > " + dir + "/f\ncat " + dir + "/f":     {0, "kept\n"},
		"echo x > " + filepath.Join(dir, "none", "f") + "": {1, "echo: open " + filepath.Join(dir, "none", "f") + ": no such file or directory\n"},
	} {
		var out bytes.Buffer
		if code := newShell(&out).run(t.Context(), script); code != want.code || out.String() != want.out {
			t.Errorf("%q: got %d %q, want %d %q", script, code, out.String(), want.code, want.out)
		}
	}
}

func TestTheServiceAnswersUntilItIsToldToEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	serving, stop := context.WithCancel(ctx)
	log, ended := &lines{wrote: make(chan string, 1)}, make(chan error, 1)
	go func() { ended <- serve(serving, log, port, "hello") }()
	select {
	case <-log.wrote:
	case err := <-ended:
		t.Fatalf("the server has ended: %v", err)
	case <-ctx.Done():
		t.Fatal("waited a minute for the server to listen")
	}
	var out bytes.Buffer
	if err := get(ctx, &out, "http://127.0.0.1:"+port); err != nil || out.String() != "hello\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// lines passes on what is written.
type lines struct{ wrote chan string }

func (l *lines) Write(data []byte) (int, error) {
	l.wrote <- string(data)
	return len(data), nil
}

func TestAChangedPipelineIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if _, err := Write(dir, "/proc/self/exe"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, PipelineName), []byte("steps: []"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, "/proc/self/exe"); err == nil || !strings.Contains(err.Error(), "exists, and is not the demo's") {
		t.Errorf("got %v", err)
	}
}

func TestLinksInTheFolderAreNotFollowedOutOfIt(t *testing.T) {
	outside := t.TempDir()
	for _, name := range []string{PipelineName, imageName, imageName + "/index.json"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(dir, "/proc/self/exe"); err == nil {
			t.Errorf("%s is a link, and no error", name)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside of the folder are %v, %v", left, err)
	}
}
