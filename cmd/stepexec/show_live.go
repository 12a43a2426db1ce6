package main

import (
	"os"
	"os/signal"
	"strings"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report/live"
)

// liveView is the display on a terminal.
type liveView struct {
	view       *live.View
	errors     console.Console // stderr; nil when it is not a terminal
	stopResize func()
	next       *nextCommands // nil if none are shown
}

func newLiveView(file *os.File, terminal console.Console, o live.Options) *liveView {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	size := func() (columns, rows int) {
		size, err := terminal.Size()
		if err != nil || size.Width == 0 || size.Height == 0 {
			return 80, 24 // the terminal does not know its size, as with script(1)
		}
		return int(size.Width), int(size.Height)
	}
	o.Size, o.Resized, o.Plain, o.Reflows = size, resized, !isUTF8(os.Getenv), reflows(os.Getenv)
	view := live.New(file, o)
	return &liveView{view: view, errors: terminalOf(os.Stderr), stopResize: func() { signal.Stop(resized) }}
}

func (l *liveView) Event(e *event.Event) {
	if l.next != nil {
		l.next.event(*e)
	}
	l.view.Event(*e)
}

// Hide does nothing: events arrive masked.
func (l *liveView) Hide([]string) {}

// Flush does nothing: the view draws by itself.
func (l *liveView) Flush() {}

func (l *liveView) Say(line string) {
	if l.errors == nil {
		sayOnStderr(line)
		return
	}
	l.view.Print("stepexec: " + logs.QuoteLines(line, "  "))
}

func (l *liveView) End(code int) error {
	l.stopResize()
	if l.next != nil {
		for i, line := range l.next.lines(code) {
			if i == 0 {
				line = "\n" + line
			}
			l.view.Print(line)
		}
	}
	return l.view.End()
}

// isUTF8 reports whether the locale uses UTF-8, by the first of the variables that is set
// (locale(7)).
func isUTF8(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(env(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// reflows reports whether the terminal rewraps lines when it becomes narrower, as most do. xterm,
// rxvt, screen and the kernel's console do not.
func reflows(env func(string) string) bool {
	if env("TMUX") != "" {
		return true
	}
	term := env("TERM")
	for _, name := range []string{"linux", "rxvt", "screen"} {
		if strings.HasPrefix(term, name) {
			return false
		}
	}
	return env("XTERM_VERSION") == ""
}
