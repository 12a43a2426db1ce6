package sandbox_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/sandbox"
)

// onTerminal is a step that runs text with busybox's shell on a terminal.
func onTerminal(t *testing.T, text string) *sandbox.Step {
	step := script(t, text)
	step.Advanced.TTY = true
	return step
}

func TestTerminalIsAllThreeStreams(t *testing.T) {
	tests := []struct {
		name, script, want string
		change             func(*sandbox.Step)
	}{
		{"all streams are terminals", "test -t 0 && test -t 1 && test -t 2 && echo yes", "yes\r\n", nil},
		{"both streams are one", "echo out; echo err >&2; printf end", "out\r\nerr\r\nend", nil},
		{"usual size", "stty size", "24 80\r\n", nil},
		{"controlling terminal", "echo hello > /dev/tty; tty", "hello\r\n/dev/pts/0\r\n", nil},
		{"/dev/console is the terminal", "echo hello > /dev/console", "hello\r\n", nil},
		{"belongs to the user", "echo ok > /dev/pts/0", "ok\r\n", func(s *sandbox.Step) { s.User = "builder" }},
		{"TERM", "echo $TERM", "xterm\r\n", nil},
		{"own TERM", "echo $TERM", "dumb\r\n", func(s *sandbox.Step) { s.Env = []string{"TERM=dumb"} }},
		{"without input reading ends", "cat; cat; head -n 1; echo end", "end\r\n", nil},
		{"without input a shell that edits lines ends", "sh -i > /dev/null; echo end", "\r\nend\r\n", nil},
		{"without input a question is answered by the end", "read answer || echo end", "end\r\n", nil},
		{"streams that are opened anew", "exec <&- >&- 2>&-; sleep 0.1; exec > /dev/pts/0; echo again", "again\r\n", nil},
		{"read-only root", "echo ok", "ok\r\n", func(s *sandbox.Step) { s.Security.ReadOnly = true }},
		{"privileged", "echo ok", "ok\r\n", func(s *sandbox.Step) { s.Security.Privileged = true }},
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := onTerminal(t, test.script)
			if test.change != nil {
				test.change(step)
			}
			stdout, stderr, exit := output(t, host, step)
			if stdout != test.want || stderr != "" || exit.Code != 0 {
				t.Errorf("got %q, %q, code %d; want %q", stdout, stderr, exit.Code, test.want)
			}
		})
	}
}

func TestTerminalShowsAllOfALongOutput(t *testing.T) {
	want := strings.Repeat("0123456789\r\n", 50000)
	stdout, _, _ := output(t, openHost(t), onTerminal(t, "yes 0123456789 | head -n 50000"))
	if stdout != want {
		t.Errorf("got %d bytes, want %d", len(stdout), len(want))
	}
}

func TestStepWithoutTerminalHasNone(t *testing.T) {
	host := openHost(t)
	stdout, _, exit := output(t, host, script(t, "test -t 0 || test -t 1 || test -e /dev/console || echo none"))
	if stdout != "none\n" {
		t.Errorf("got %q, code %d", stdout, exit.Code)
	}
	if _, err := runStep(t, host, script(t, "true"), func(s *sandbox.Sandbox) {
		if s.Terminal() != nil {
			t.Error("there is a terminal")
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsTypedReachesTheStep(t *testing.T) {
	tests := []struct{ name, script, input, want string }{
		{"lines, and the end", "READY cat", "one\ntwo\n", "one\r\ntwo\r\n"},
		{"a line without end", "READY cat; echo :", "one", "one:\r\n"},
		{"Ctrl-C interrupts what runs", "trap 'echo interrupted; exit 3' INT; READY while :; do sleep 0.05; done", "\x03", "interrupted\r\n"},
		{"nobody reads", "READY exit 0", strings.Repeat("line\n", 20000), ""},
	}
	host := openHost(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			step := onTerminal(t, "stty -echo -echoctl; "+test.script)
			ready := t.TempDir()
			write(t, ready+"/now", "")
			// The step says when it does not echo any more, and listens.
			step.Script = []byte(strings.Replace(string(step.Script), "READY ", "echo now > /ready/now; ", 1))
			step.Mounts = []sandbox.Mount{{Type: "bind", Source: ready, Destination: "/ready", Options: []string{"bind", "rw"}}}
			read, typed, err := os.Pipe()
			must(t, err)
			defer read.Close()
			step.Stdin = read
			out, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
				must(t, s.Start(t.Context()))
				waitFor(t, ready+"/now", "now")
				go func() {
					_, _ = io.WriteString(typed, test.input) // the step may have ended before
					typed.Close()
				}()
				_, err := s.Wait(t.Context(), sandbox.Stopping{})
				must(t, err)
			})
			must(t, err)
			if out[0] != test.want {
				t.Errorf("got %q, want %q", out[0], test.want)
			}
		})
	}
}

func TestStepThatEndsDoesNotWaitForItsInput(t *testing.T) {
	read, typed, err := os.Pipe()
	must(t, err)
	defer read.Close()
	defer typed.Close() // after the step has ended
	step := onTerminal(t, "echo done")
	step.Stdin = read
	if stdout, _, exit := output(t, openHost(t), step); stdout != "done\r\n" || exit.Code != 0 {
		t.Errorf("got %q, code %d", stdout, exit.Code)
	}
}

func TestResizeReachesTheStep(t *testing.T) {
	host := openHost(t)
	ready := t.TempDir()
	write(t, ready+"/now", "")
	step := onTerminal(t, "stty size; trap 'stty size; exit 0' WINCH; echo now > /ready/now; while :; do sleep 0.05; done")
	step.Mounts = []sandbox.Mount{{Type: "bind", Source: ready, Destination: "/ready", Options: []string{"bind", "rw"}}}
	out, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
		must(t, s.Terminal().Resize(100, 30))
		must(t, s.Start(t.Context()))
		waitFor(t, ready+"/now", "now")
		must(t, s.Terminal().Resize(132, 43))
		_, err := s.Wait(t.Context(), sandbox.Stopping{})
		must(t, err)
	})
	must(t, err)
	if want := "30 100\r\n43 132\r\n"; out[0] != want {
		t.Errorf("got %q, want %q", out[0], want)
	}
}

func TestStepIsHungUpWhenNobodyReadsItsTerminal(t *testing.T) {
	host := openHost(t)
	read, write, err := os.Pipe()
	must(t, err)
	step := onTerminal(t, "while :; do echo line; sleep 0.01; done")
	step.Stdout = write
	s, err := host.Prepare(t.Context(), step)
	must(t, err)
	must(t, write.Close())
	must(t, s.Start(t.Context()))
	_, err = io.ReadFull(read, make([]byte, 4))
	must(t, err)
	must(t, read.Close())
	exit, err := s.Wait(t.Context(), sandbox.Stopping{})
	must(t, err)
	if exit.Code == 0 {
		t.Errorf("got %+v", exit)
	}
	must(t, s.Remove())
}

func TestTerminalIsReleasedWhenTheStepNeverStarts(t *testing.T) {
	host := openHost(t)
	before := descriptors(t)
	for range 3 {
		_, err := runStep(t, host, onTerminal(t, "true"), func(*sandbox.Sandbox) {})
		must(t, err)
		step := onTerminal(t, "")
		step.Script, step.Entrypoint = nil, []string{"nope"}
		if _, err := runStep(t, host, step, func(*sandbox.Sandbox) {}); err == nil {
			t.Error("no error")
		}
	}
	if after := descriptors(t); after > before+1 { // the poller's own
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func TestRawSpecificationCanHaveATerminal(t *testing.T) {
	step := script(t, "")
	step.Advanced.Spec = []byte(`{"ociVersion":"1.0.2","process":{"terminal":true,"args":["/bin/sh","-c","test -t 0 && echo yes"],"env":["PATH=/bin"],"cwd":"/"},
		"mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/dev","type":"tmpfs","source":"tmpfs"},{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance","ptmxmode=0666"]}],
		"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}`)
	if stdout, _, _ := output(t, openHost(t), step); stdout != "yes\r\n" {
		t.Errorf("got %q", stdout)
	}
}

func TestDeepStateRootHasRoomForTheTerminalsSocket(t *testing.T) {
	root := t.TempDir() + strings.Repeat("/"+strings.Repeat("d", 60), 3)
	host, err := sandbox.Open(t.Context(), sandbox.Options{Root: root, Runtime: testRuntime()})
	must(t, err)
	defer func() { must(t, host.Close()) }()
	if stdout, _, _ := output(t, host, onTerminal(t, "echo ok")); stdout != "ok\r\n" {
		t.Errorf("got %q", stdout)
	}
}
