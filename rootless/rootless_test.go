package rootless_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
	"github.com/stepexec/stepexec/rootless/rootlesstest"
)

// TestMain is also the program that runs itself anew; its first argument says what it then does.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "as-user-") {
		os.Exit(m.Run())
	}
	if err := rootless.Resume(); err != nil {
		fmt.Println(err)
		os.Exit(125)
	}
	if rootless.Needed() {
		code, err := rootless.Run()
		if err != nil {
			fmt.Println(err)
			code = 125
		}
		os.Exit(code)
	}
	os.Exit(inside(strings.TrimPrefix(os.Args[1], "as-user-")))
}

func inside(task string) (code int) {
	switch task {
	case "who":
		uid, ok := rootless.Inside()
		ids, _ := os.ReadFile("/proc/self/uid_map")
		fmt.Println(os.Geteuid(), os.Getpid(), uid, ok, rootless.InNamespace(), strings.Fields(string(ids)))
		return 42
	case "signals":
		c := make(chan os.Signal, 4)
		stop := rootless.Notify(c)
		fmt.Println("ready")
		fmt.Println(<-c, <-c)
		stop()
		return 0
	case "wait":
		fmt.Println("ready")
		signal.Ignore(unix.SIGTERM)
		select {}
	}
	return 1
}

// program is this test's own, where the user can execute it.
func program(t *testing.T) string {
	path := filepath.Join(rootlesstest.Dir(t), "program")
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", own, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestUserIsRootOfItsNamespace(t *testing.T) {
	cmd := rootlesstest.Command(t, program(t), "as-user-who")
	out, _ := cmd.CombinedOutput()
	want := fmt.Sprintf("0 1 %d true true [0 %d 1 1 %d 65536]\n", rootlesstest.UID, rootlesstest.UID, rootlesstest.FirstID)
	if string(out) != want || cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("exit code %d, got %swant %s", cmd.ProcessState.ExitCode(), out, want)
	}
}

func TestSignalsArriveOnceEach(t *testing.T) {
	cmd := rootlesstest.Command(t, program(t), "as-user-signals")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || line != "ready" {
		t.Fatal(line, err)
	}
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if sig == unix.SIGINT { // two signals that wait have no order
			for !caught(t, cmd.Process.Pid) {
			}
		}
	}
	var first, second string
	if _, err := fmt.Fscanln(out, &first, &second); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || first+second != "interruptterminated" {
		t.Errorf("got %s and %s: %v", first, second, err)
	}
}

// caught reports whether no SIGINT waits for the process.
func caught(t *testing.T, pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, set, _ := strings.Cut(line, ":"); name == "ShdPnd" {
			return strings.HasSuffix(strings.TrimSpace(set), "0")
		}
	}
	t.Fatal("no ShdPnd")
	return false
}

func TestChildDiesWithItsParent(t *testing.T) {
	cmd := rootlesstest.Command(t, program(t), "as-user-wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || line != "ready" {
		t.Fatal(line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The pipe ends when the last process that writes to it has ended.
	if n, err := out.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v", n, err)
	}
	_ = cmd.Wait() // it was killed
}
