package drone_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

// cloner does what the image drone/git does for a push, with the variables that it reads.
// The image itself cannot be had without the internet.
const cloner = `#!/bin/sh
set -e
printf 'machine %s login %s password %s\n' "$DRONE_NETRC_MACHINE" "$DRONE_NETRC_USERNAME" "$DRONE_NETRC_PASSWORD" > /tmp/.netrc
cat /tmp/.netrc
cd "$DRONE_WORKSPACE"
git init -q -b "$DRONE_COMMIT_BRANCH"
git remote add origin "$DRONE_REMOTE_URL"
git fetch -q ${PLUGIN_DEPTH:+--depth=$PLUGIN_DEPTH} origin "+refs/heads/$DRONE_COMMIT_BRANCH:"
git checkout -q "$DRONE_COMMIT_SHA" -b "$DRONE_COMMIT_BRANCH"
git log --format=%s
`

var library = regexp.MustCompile(`(/\S+) \(0x`)

// gitImage is busybox with this machine's git.
func gitImage(t *testing.T, dir string) {
	t.Helper()
	image, err := fixtures.BusyboxImage()
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := []fixtures.Entry{fixtures.File("clone", 0o755, cloner)}
	add := func(name, source string) {
		data, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fixtures.File(strings.TrimPrefix(name, "/"), 0o755, string(data)))
	}
	add("usr/bin/git", program)
	for _, found := range library.FindAllStringSubmatch(string(libraries), -1) {
		add(found[1], found[1])
	}
	image.Layers = append(image.Layers, fixtures.Tar(files...))
	image.Config.Entrypoint, image.Config.Cmd = []string{"/clone"}, nil
	if err := image.WriteLayout(dir, "latest"); err != nil {
		t.Fatal(err)
	}
}

// repository is one with three commits on main, behind a git daemon.
func repository(t *testing.T) (url, commit string) {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", filepath.Join(dir, "app"), "-c", "user.name=Octo", "-c", "user.email=octo@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q", "-b", "main")
	for _, text := range []string{"first", "second", "third"} {
		if err := os.WriteFile(filepath.Join(dir, "app", "file"), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", "file")
		git("commit", "-q", "-m", text)
	}
	commit = git("rev-parse", "HEAD^")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	listener.Close()
	path := strings.TrimSpace(git("--exec-path"))
	daemon := exec.Command(filepath.Join(path, "git-daemon"), "--listen=127.0.0.1", "--port="+port, "--base-path="+dir, "--export-all", "--reuseaddr", dir)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "git://" + address + "/app", commit
}

// The clone step has what it needs to bring the sources of the build's commit.
func TestCloneBringsTheSources(t *testing.T) {
	b := newBench(t)
	gitImage(t, filepath.Join(b.Dir, "git"))
	url, commit := repository(t)
	b.start(func(o *drone.Options) { o.Clone, o.Network = "oci:git", "host" })
	config := strings.Replace(steps("a: commands: [cat file, 'cat $HOME/.netrc']"), "steps:", "clone: {depth: 2}\nsteps:", 1)
	s := b.server.Ended(b.server.Push(config, func(s *servertest.Stage) {
		s.Repo["git_http_url"], s.Build["after"], s.Repo["private"] = url, commit, true
		s.Netrc = map[string]string{"machine": "git.example.com", "login": "bot", "password": "pa55word-of-git"}
	}))
	if got := outcome(s); got != "clone=success a=success success" {
		t.Fatalf("%s\n%s%s", got, s.Step("clone").Text(), s.Step("a").Text())
	}
	if got := s.Step("clone").Text(); !strings.HasPrefix(got, "***\n") || !strings.HasSuffix(got, "\nsecond\n") {
		t.Errorf("clone printed %q", got) // depth 2 of main; the commit before its last; the three values of .netrc in one mask
	}
	if got := s.Step("a").Text(); !strings.Contains(got, "\nsecond\n") || strings.Contains(got, "pa55word") || !strings.Contains(got, "***") {
		t.Errorf("a printed %q", got)
	}
}
