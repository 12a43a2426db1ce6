package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// defaultDockerSocket is the socket of docker's daemon when $DOCKER_HOST does not name one.
const defaultDockerSocket = "/var/run/docker.sock"

// DockerSocket returns the socket of docker's daemon: the one in $DOCKER_HOST, or the default.
func DockerSocket() string {
	if path, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); ok {
		return path
	}
	return defaultDockerSocket
}

// dockerDaemon asks docker's daemon for its images
// (https://docs.docker.com/reference/api/engine/, "Inspect an image" and "Export an image").
type dockerDaemon struct{ socket string }

func (d dockerDaemon) id(ctx context.Context, name string) (digest.Digest, error) {
	var image struct{ Id digest.Digest }
	err := d.get(ctx, "/images/"+name+"/json", func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, maxDocument)).Decode(&image)
	})
	if err != nil {
		return "", err
	}
	return image.Id, checkDigest(image.Id)
}

func (d dockerDaemon) export(ctx context.Context, name string, to *os.File) error {
	return d.get(ctx, "/images/"+name+"/get", func(body io.Reader) error {
		if _, err := io.Copy(to, body); err != nil {
			return fmt.Errorf("copy it to %s: %w", os.TempDir(), err)
		}
		return nil
	})
}

// get makes a request and passes the answer to read.
func (d dockerDaemon) get(ctx context.Context, path string, read func(io.Reader) error) (err error) {
	if host := os.Getenv("DOCKER_HOST"); host != "" && !strings.HasPrefix(host, "unix://") {
		return fmt.Errorf("DOCKER_HOST=%s: only a socket of this machine is asked (unix://PATH; or docker save IMAGE | stepexec load -)", host)
	}
	transport := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("docker's daemon does not run: nothing listens at %s (start it, or set DOCKER_HOST=unix://PATH)", d.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("docker's daemon: no permission for %s (be root, or in the group docker)", d.socket)
	case err != nil:
		return fmt.Errorf("docker's daemon: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	switch response.StatusCode {
	case http.StatusOK:
		return read(response.Body)
	case http.StatusNotFound:
		return &failure{"docker's daemon has no such image (docker images lists those that it has)", ErrNotFound}
	}
	var said struct{ Message string }
	if err := json.NewDecoder(io.LimitReader(response.Body, maxDocument)).Decode(&said); err != nil || said.Message == "" {
		said.Message = response.Status
	}
	return fmt.Errorf("docker's daemon: %s", said.Message)
}
