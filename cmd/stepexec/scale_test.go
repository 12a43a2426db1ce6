package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
)

const machines = 5

// TestManyMachinesShareACache has machines with network namespaces and state roots of their own
// pull an image through Debian's docker-registry as a proxy of another registry that wants
// credentials. docs/scale.md has the figures that it logs.
func TestManyMachinesShareACache(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces")
	}
	const inside = "STEPEXEC_TEST_SCALE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up && ip link add br0 type bridge && ip address add 10.77.0.1/24 dev br0 && ip link set br0 up && exec "$@"`,
			"sh", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=yes")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatal(err)
		}
		return
	}
	program := filepath.Join(t.TempDir(), "stepexec")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	img, err := random.Image(2_000_000, 4)
	if os.Getenv("STEPEXEC_SCALE_IMAGE") == "debian" { // for the figures
		var layout string
		if layout, err = fixtures.Debian(t.Context(), ""); err == nil {
			img, err = fixtures.FromLayout(layout, "latest")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	origin := registry.Start(t, registry.Options{})
	origin.Push(t, "medium:1", img)
	counted := newCounter(t, origin.Host)
	stop := startProxy(t, counted.host)
	all := make([]*machine, machines)
	for i := range all {
		all[i] = newMachine(t, i, program, counted.host)
	}
	pullOnAll(t, all[:1], "cold cache, one machine")
	blobs, most := counted.blobs()
	t.Logf("origin: %d requests for %d blobs, the most for one: %d; %.1f MB", counted.total(), blobs, most, float64(counted.sent())/1e6)
	if blobs == 0 || most > 3 { // docker-registry asks for the client, for each range of it, and for its storage
		t.Errorf("the origin was asked for %d blobs, %d times for one", blobs, most)
	}

	counted.reset()
	all[0].forget(t)
	pullOnAll(t, all, "warm cache, all at once")
	if blobs, _ := counted.blobs(); blobs != 0 {
		t.Errorf("with a warm cache the origin was asked for %d blobs", blobs)
	}

	// The proxy dies. Machines without credentials of their own fail and name both; those with
	// credentials go to the origin.
	stop()
	all[0].forget(t)
	out, err := all[0].pull(t.Context())
	if err == nil || !strings.Contains(out, "mirror 10.77.0.1:5001: cannot reach 10.77.0.1:5001") || !strings.Contains(out, "unauthorised") {
		t.Errorf("without the proxy: %v\n%s", err, out)
	}
	all[1].forget(t)
	all[1].login(t, counted.host)
	out, err = all[1].pull(t.Context())
	if err != nil || !strings.Contains(out, "warning: mirror 10.77.0.1:5001") {
		t.Errorf("without the proxy, with credentials: %v\n%s", err, out)
	}
	if strings.Contains(out, "the-sites-password") {
		t.Errorf("a password is shown: %s", out)
	}
}

// counter is a server in front of the origin that wants a token, and counts.
type counter struct {
	host string
	mu   sync.Mutex
	got  map[string]int // requests by path of a blob
	all  int
	sum  int64
}

func newCounter(t *testing.T, origin string) *counter {
	t.Helper()
	c := &counter{got: map[string]int{}}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: origin})
	forward.ModifyResponse = func(r *http.Response) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.Request.Method == http.MethodGet && r.StatusCode == http.StatusOK && strings.Contains(r.Request.URL.Path, "/blobs/") {
			c.got[r.Request.URL.Path]++
			c.sum += r.ContentLength
		}
		c.all++
		return nil
	}
	listener, err := net.Listen("tcp", "10.77.0.1:5000")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, password, _ := q.BasicAuth()
		switch {
		case q.URL.Path == "/token" && password == "the-sites-password":
			fmt.Fprint(w, `{"token":"good","access_token":"good"}`)
		case q.Header.Get("Authorization") != "Bearer good":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://10.77.0.1:5000/token",service="origin",scope="repository:medium:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			q.Header.Del("Authorization")
			forward.ServeHTTP(w, q)
		}
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	c.host = listener.Addr().String()
	return c
}

func (c *counter) blobs() (n, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.got {
		most = max(most, times)
	}
	return len(c.got), most
}

func (c *counter) total() int  { c.mu.Lock(); defer c.mu.Unlock(); return c.all }
func (c *counter) sent() int64 { c.mu.Lock(); defer c.mu.Unlock(); return c.sum }
func (c *counter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got, c.all, c.sum = map[string]int{}, 0, 0
}

// startProxy starts a docker-registry that caches the origin, with the site's credentials.
func startProxy(t *testing.T, origin string) (stop func()) {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: "10.77.0.1:5001", secret: test}
proxy: {remoteurl: "http://%s", username: site, password: the-sites-password}
`, filepath.Join(dir, "storage"), origin)
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(stop)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", "10.77.0.1:5001")
		if err == nil {
			_ = conn.Close()
			return stop
		}
		if time.Now().After(deadline) {
			t.Fatalf("the proxy does not listen: %s", said.String())
		}
	}
}

// machine is a process in a network namespace, which commands enter, and a state root.
type machine struct {
	dir, program, image string
	pid                 int
}

func newMachine(t *testing.T, i int, program, origin string) *machine {
	t.Helper()
	holder := exec.Command("unshare", "--net", "sleep", "infinity")
	holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Process.Kill(); _ = holder.Wait() })
	m := &machine{dir: t.TempDir(), program: program, image: origin + "/medium:1", pid: holder.Process.Pid}
	script := fmt.Sprintf(`until [ "$(readlink /proc/%[2]d/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link add v%[1]d type veth peer name e%[1]d && ip link set v%[1]d master br0 up && ip link set e%[1]d netns %[2]d &&
nsenter -t %[2]d -n sh -c 'ip link set lo up && ip link set e%[1]d up && ip address add 10.77.0.%[3]d/24 dev e%[1]d'`, i, m.pid, 10+i)
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	settings := fmt.Sprintf("registries:\n  %q: {http: true, cache: \"10.77.0.1:5001\"}\n  \"10.77.0.1:5001\": {http: true}\n", origin)
	if err := os.WriteFile(filepath.Join(m.dir, "settings.yml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) pull(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", "-t", fmt.Sprint(m.pid), "-n", m.program, "pull", m.image, "--root", filepath.Join(m.dir, "root"), "--settings", filepath.Join(m.dir, "settings.yml"))
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+m.dir, "HOME="+m.dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *machine) forget(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(m.dir, "root")); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) login(t *testing.T, host string) {
	t.Helper()
	config := fmt.Sprintf(`{"auths": {%q: {"username": "site", "password": "the-sites-password"}}}`, host)
	if err := os.WriteFile(filepath.Join(m.dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(m.dir, ".docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, ".docker/config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pullOnAll pulls on all machines at once.
func pullOnAll(t *testing.T, all []*machine, what string) time.Duration {
	t.Helper()
	var wait sync.WaitGroup
	began := time.Now()
	for i, m := range all {
		wait.Go(func() {
			if out, err := m.pull(t.Context()); err != nil || strings.Contains(out, "warning") {
				t.Errorf("%s: machine %d: %v\n%s", what, i, err, out)
			}
		})
	}
	wait.Wait()
	took := time.Since(began)
	t.Logf("%s: %d machines in %s", what, len(all), took.Round(10*time.Millisecond))
	return took
}
