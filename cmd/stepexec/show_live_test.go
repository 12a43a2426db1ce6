package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
)

// TestLiveView looks at a run on a real terminal, tmux's, while images are pulled, while
// steps run, after the terminal got another size, and at the end.
func TestLiveView(t *testing.T) {
	dir := t.TempDir()
	gate := newGate(t, bigImage(t))
	definition, err := os.ReadFile("testdata/live/pipeline.yml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pipeline.yml"), strings.ReplaceAll(string(definition), "REGISTRY", gate.host))
	tm := startTmux(t, dir, 80, 24, "stepexec run --root "+filepath.Join(dir, "root")+`; echo "exit code $?"; exec cat`)

	tm.see(`(?m)^  pull \S*/big:1 +\[=+> +\] +\d+%  [\d.]+MB/[\d.]+MB  (\S+/s|stalled \d+s)  [\d.]+s$`)
	gate.open()
	tm.see(`(?m)^    0+$`)
	tm.compare("80x24")
	for _, size := range []struct{ columns, rows, title int }{{200, 50, 100}, {60, 24, 59}, {80, 24, 79}} {
		tm.resize(size.columns, size.rows)
		tm.see(fmt.Sprintf(`(?m)^ci: .{%d}\ds$`, size.title-len("ci: 1s"))) // drawn anew, for it is as wide as the terminal
		if !tm.shows(func(screen string) bool { return strings.Count(screen, "ci: ") == 1 }) {
			t.Errorf("with %d columns there is not one block:\n%s", size.columns, tm.screen())
		}
		if size.columns == 200 {
			tm.compare("200x50")
		}
	}
	write(t, filepath.Join(dir, "go"), "")
	tm.see(`(?m)^✔ colours .*\n(?:    .*\n)+ci: 3 of 5 steps done, 1 running`)
	write(t, filepath.Join(dir, "go-on"), "")
	tm.see(`exit code 3\n`)
	all := tm.run("capture-pane", "-p", "-J", "-S", "-") // with what has been scrolled away
	if end := regexp.MustCompile(`(?s)✘ wide failed with exit code 3 after [^\n]+\n- never skipped: [^\n]+\n- db stopped after [^\n]+\n\n` +
		`[^\n]+:\d+: step wide failed: its command ended with exit code 3; the last 20 of its 31 lines:\nwide \| 12 .*\nci: failed with exit code 3 after [^\n]+\n\n` +
		`  run [a-z2-7]{10}\n  stepexec logs [a-z2-7]{10} wide --root /\S+/root\n  stepexec run --failed --root /\S+/root\nexit code 3\n`); !end.MatchString(all) {
		t.Errorf("at the end the terminal shows\n%s", all)
	}
	if title := tm.run("display-message", "-p", "#{pane_title}"); strings.Contains(title, "a title") {
		t.Error("a step set the terminal's title")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// bigImage starts a registry that has an image with 4 MB which cannot be compressed, as
// big:1.
func bigImage(t *testing.T) (host string) {
	t.Helper()
	image, err := fixtures.BusyboxImage()
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 4<<20)
	_, _ = rand.Read(random) // never fails
	image.Layers = append(image.Layers, fixtures.Tar(fixtures.File("random", 0o644, string(random))))
	r := registry.Start(t, registry.Options{})
	if err := image.Push(t.Context(), r.Host+"/big:1"); err != nil {
		t.Fatal(err)
	}
	return r.Host
}

// gate is a proxy in front of a registry that lets half of each large blob through, and
// the rest once it is open.
type gate struct {
	host string
	open func()
}

func newGate(t *testing.T, registry string) *gate {
	t.Helper()
	opened := make(chan struct{})
	g := &gate{open: sync.OnceFunc(func() { close(opened) })}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.ContentLength > 2<<20 && strings.Contains(r.Request.URL.Path, "/blobs/") {
			body := r.Body
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(body, r.ContentLength/2), waiting{opened}, body), body}
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	t.Cleanup(g.open)
	g.host = server.Listener.Addr().String()
	return g
}

// waiting is a reader without bytes that ends when the channel is closed.
type waiting struct{ until <-chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	<-w.until
	return 0, io.EOF
}

// tmux is a terminal.
type tmux struct {
	t      *testing.T
	socket string
}

func startTmux(t *testing.T, dir string, columns, rows int, script string) *tmux {
	t.Helper()
	tm := &tmux{t, filepath.Join(t.TempDir(), "tmux")}
	for name, value := range map[string]string{"LC_ALL": "C.UTF-8", "TERM": "tmux-256color", "CI": "", "NO_COLOR": "", "STEPEXEC_SETTINGS": "/dev/null"} {
		t.Setenv(name, value)
	}
	tm.run("-f", "/dev/null", "-u", "new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows), "-c", dir, "sh", "-c", script)
	t.Cleanup(func() {
		tm.run("kill-server") // and stepexec, which clears away
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if runs, _ := os.ReadDir(filepath.Join(dir, "root", "runs")); len(runs) == 0 {
				return
			}
		}
		t.Error("the run is not cleared away 20 s after its terminal has gone")
	})
	return tm
}

func (tm *tmux) run(args ...string) string {
	tm.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", tm.socket}, args...)...).CombinedOutput()
	if err != nil {
		tm.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (tm *tmux) resize(columns, rows int) {
	tm.t.Helper()
	tm.run("resize-window", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows))
}

// screen is what the terminal shows, without empty rows at the end.
func (tm *tmux) screen() string {
	tm.t.Helper()
	return strings.TrimRight(tm.run("capture-pane", "-p"), "\n") + "\n"
}

// shows waits until the terminal shows what is wanted: it may be looked at in the middle
// of a drawing.
func (tm *tmux) shows(wanted func(screen string) bool) bool {
	tm.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !wanted(tm.screen()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// see waits until the terminal shows what the expression matches.
func (tm *tmux) see(expression string) {
	tm.t.Helper()
	if !tm.shows(regexp.MustCompile(expression).MatchString) {
		tm.t.Fatalf("the terminal did not show %s in 20 s, but, with what has been scrolled away,\n%s", expression, tm.run("capture-pane", "-p", "-S", "-"))
	}
}

var (
	clock = regexp.MustCompile(` +[\d.]+m?s\b`)
	host  = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

// compare compares what the terminal shows with testdata/live/NAME, in which T stands
// for times; with UPDATE_LIVE set it writes that file.
func (tm *tmux) compare(name string) {
	tm.t.Helper()
	got := func(screen string) string {
		return clock.ReplaceAllString(host.ReplaceAllString(screen, "REGISTRY"), " T")
	}
	path := filepath.Join("testdata", "live", name)
	if os.Getenv("UPDATE_LIVE") != "" {
		write(tm.t, path, got(tm.screen()))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tm.t.Fatal(err)
	}
	if !tm.shows(func(screen string) bool { return got(screen) == string(want) }) {
		tm.t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(string(want), got(tm.screen())))
	}
}
