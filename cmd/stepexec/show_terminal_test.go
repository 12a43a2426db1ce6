package main

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/console"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// interactCommand is `interact DIALOG PROGRAM ARG...`: it runs a program on a
// terminal of 100 by 30 characters, as a user would who keeps to a dialog:
//
//	see TEXT       wait until the screen shows it, behind what was seen before
//	type TEXT      TEXT is a Go string without its quotes
//	resize W H
//	signal N       to the program
//	raw, cooked    is what the terminal must be
//
// When the program has ended, the terminal must be as it was. What it has shown
// is in the file screen, its exit code in the file code.
func interactCommand(ts *testscript.TestScript, _ bool, args []string) {
	terminal, path, err := console.NewPty()
	check(ts, err)
	defer terminal.Close()
	check(ts, terminal.Resize(console.WinSize{Width: 100, Height: 30}))
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	check(ts, err)
	defer slave.Close()
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	check(ts, err)

	program, err := exec.LookPath(args[1])
	check(ts, err)
	cmd := exec.Command(program, args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "ROOT", "BUSYBOX", "TOKEN", "STEPEXEC_SETTINGS", "GORACE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	check(ts, cmd.Start())
	s := &screen{}
	go s.read(terminal) // until the terminal is closed
	dialog := ts.ReadFile(args[0])
	for line := range strings.Lines(dialog) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verb != "" && !act(ts, verb, rest, terminal, slave, cmd, s) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			ts.Fatalf("%s: the screen shows %q", strings.TrimSpace(line), s.String())
		}
	}
	_ = cmd.Wait() // its code is what is asked for
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	check(ts, err)
	if *before != *after {
		ts.Fatalf("the terminal's settings are not restored: %+v, were %+v", after, before)
	}
	_, err = slave.WriteString(endOfScreen) // what was printed before it has been read when it is seen
	check(ts, err)
	if !s.see(endOfScreen) {
		ts.Fatalf("the screen has no end: %q", s.String())
	}
	check(ts, os.WriteFile(ts.MkAbs("screen"), []byte(strings.TrimSuffix(s.String(), endOfScreen)), 0o644))
	check(ts, os.WriteFile(ts.MkAbs("code"), []byte(strconv.Itoa(cmd.ProcessState.ExitCode())+"\n"), 0o644))
}

const endOfScreen = "(end of screen)"

// act does one line of a dialog and reports whether it could.
func act(ts *testscript.TestScript, verb, rest string, terminal console.Console, slave *os.File, cmd *exec.Cmd, s *screen) bool {
	switch verb {
	case "see":
		text, err := strconv.Unquote(`"` + rest + `"`)
		check(ts, err)
		return s.see(text)
	case "type":
		text, err := strconv.Unquote(`"` + rest + `"`)
		check(ts, err)
		_, err = terminal.Write([]byte(text))
		check(ts, err)
	case "resize":
		width, height, _ := strings.Cut(rest, " ")
		w, err := strconv.ParseUint(width, 10, 16)
		check(ts, err)
		h, err := strconv.ParseUint(height, 10, 16)
		check(ts, err)
		check(ts, terminal.Resize(console.WinSize{Width: uint16(w), Height: uint16(h)}))
	case "signal":
		n, err := strconv.Atoi(rest)
		check(ts, err)
		check(ts, cmd.Process.Signal(syscall.Signal(n)))
	case "raw", "cooked":
		now, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		check(ts, err)
		return (now.Lflag&unix.ICANON == 0) == (verb == "raw")
	default:
		ts.Fatalf("interact: unknown %s", verb)
	}
	return true
}

// screen is what a terminal has shown.
type screen struct {
	mu    sync.Mutex
	shown bytes.Buffer
	seen  int
}

func (s *screen) read(terminal console.Console) {
	buf := make([]byte, 4096)
	for {
		n, err := terminal.Read(buf)
		s.mu.Lock()
		s.shown.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// see waits for text for at most a minute.
func (s *screen) see(text string) bool {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		at := bytes.Index(s.shown.Bytes()[s.seen:], []byte(text))
		if at >= 0 {
			s.seen += at + len(text)
		}
		s.mu.Unlock()
		if at >= 0 {
			return true
		}
	}
	return false
}
