package pull_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/pull"
)

// dockerAPI stands in for docker's daemon: it has one image, app:1, which is in a file.
type dockerAPI struct {
	id, archive string
	exports     int
}

func (d *dockerAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/images/app:1/json":
		w.Write([]byte(`{"Id": "` + d.id + `", "RepoTags": ["app:1"]}`))
	case "/images/app:1/get":
		d.exports++
		http.ServeFile(w, r, d.archive)
	case "/images/broken:1/json":
		w.WriteHeader(http.StatusInternalServerError)
		w.Write([]byte(`{"message": "the layer store is damaged"}`))
	default:
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"message": "No such image"}`))
	}
}

// listen serves the API at a socket, and points $DOCKER_HOST at it.
func (d *dockerAPI) listen(t *testing.T) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+socket)
}

func TestResolveFromDockersDaemon(t *testing.T) {
	image := platformImage(t, "linux/amd64", 2)
	config, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	api := &dockerAPI{id: config.String(), archive: saved(t, map[string]v1.Image{"app:1": image})}
	api.listen(t)
	got := mustResolve(t, "docker-daemon:app:1", amd64)
	if got.Root.String() != api.id || got.Digest.String() != api.id || got.Name != "docker-daemon:app:1" {
		t.Errorf("root %s, digest %s, name %s; want the ID %s", got.Root, got.Digest, got.Name, api.id)
	}
	checkLayers(t, got, image)
	exports := api.exports
	root, _, err := pull.Head(t.Context(), parsed(t, "docker-daemon:app:1"), pull.Options{})
	if err != nil || root != got.Root || api.exports != exports {
		t.Errorf("Head: %s, %v, and %d exports more; want the ID alone", root, err, api.exports-exports)
	}
	if err := resolveError(t, "docker-daemon:nope:1", amd64); !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	wantText(t, resolveError(t, "docker-daemon:broken:1", amd64), "pull docker-daemon:broken:1: docker's daemon: the layer store is damaged")
	t.Setenv("DOCKER_HOST", "unix:///no/such/socket")
	wantText(t, resolveError(t, "docker-daemon:app:1", amd64), "nothing listens at /no/such/socket")
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
	wantText(t, resolveError(t, "docker-daemon:app:1", amd64), "only a socket of this machine")
}

// TestResolveFromContainersStorage has a script as podman: the real one is in TestScripts.
func TestResolveFromContainersStorage(t *testing.T) {
	image := platformImage(t, "linux/amd64", 1)
	config, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	dir, archive := t.TempDir(), saved(t, map[string]v1.Image{"localhost/app:1": image})
	script := `#!/bin/sh
for name; do :; done
[ "$name" != localhost/broken ] || { echo 'Error: default OCI runtime "crun" not found: invalid argument' >&2; exit 125; }
[ "$name" = localhost/app:1 ] || { echo "Error: $name: image not known" >&2; exit 125; }
case $1 in
image) echo ` + config.Hex + ` ;;
save) cat ` + archive + ` ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "podman"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	got := mustResolve(t, "containers-storage:localhost/app:1", amd64)
	if got.Root.String() != config.String() {
		t.Errorf("root %s, want the ID %s", got.Root, config)
	}
	checkLayers(t, got, image)
	if err := resolveError(t, "containers-storage:nope", amd64); !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	if err := resolveError(t, "containers-storage:localhost/broken", amd64); errors.Is(err, pull.ErrNotFound) {
		t.Errorf("a podman that does not work: %v", err)
	} else {
		wantText(t, err, `default OCI runtime "crun" not found`)
	}
	t.Setenv("PATH", t.TempDir())
	wantText(t, resolveError(t, "containers-storage:localhost/app:1", amd64), "neither podman nor buildah is installed")
}

func TestPodmanThatIsGivenUpIsNotWaitedForWithAllThatItHasStarted(t *testing.T) {
	dir := t.TempDir()
	begun, ended := filepath.Join(dir, "begun"), filepath.Join(dir, "ended")
	if err := unix.Mkfifo(begun, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nsetsid sh -c 'sleep 20; echo >" + ended + "' &\necho $! >" + begun + "\nwait\n"
	if err := os.WriteFile(filepath.Join(dir, "podman"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pid := 0
	go func() {
		defer cancel()
		data, err := os.ReadFile(begun)
		if err == nil {
			_, err = fmt.Sscan(string(data), &pid)
		}
		if err != nil {
			t.Error(err)
		}
	}()
	if _, _, err := pull.Head(ctx, parsed(t, "containers-storage:app"), pull.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	<-ctx.Done()
	if _, err := os.Stat(ended); err == nil {
		t.Error("its child was waited for")
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
}
