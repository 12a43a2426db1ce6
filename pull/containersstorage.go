package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ContainersStorage returns the folder where podman and buildah store images, for root or for the
// user (containers-storage.conf(5)).
func ContainersStorage() string {
	if os.Geteuid() == 0 {
		return "/var/lib/containers"
	}
	if data := os.Getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "containers")
	}
	return filepath.Join(os.Getenv("HOME"), ".local/share/containers")
}

// containersStorage asks podman for images, or buildah where podman is not installed; both use the
// same storage.
type containersStorage struct{}

func (containersStorage) id(ctx context.Context, name string) (digest.Digest, error) {
	var out bytes.Buffer
	err := storageProgram(ctx, &out, map[string][]string{
		"podman":  {"image", "inspect", "--format", "{{.Id}}", name},
		"buildah": {"inspect", "--type", "image", "--format", "{{.FromImageID}}", name},
	})
	if err != nil {
		return "", err
	}
	id := digest.Digest("sha256:" + strings.TrimPrefix(strings.TrimSpace(out.String()), "sha256:"))
	return id, checkDigest(id)
}

func (containersStorage) export(ctx context.Context, name string, to *os.File) error {
	return storageProgram(ctx, to, map[string][]string{
		"podman":  {"save", "--quiet", "--format", "docker-archive", name},
		"buildah": {"push", "--quiet", name, "docker-archive:/dev/stdout"},
	})
}

// storageProgram runs whichever program is installed, with its arguments.
func storageProgram(ctx context.Context, stdout io.Writer, arguments map[string][]string) error {
	for _, program := range []string{"podman", "buildah"} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, path, arguments[program]...)
		cmd.Stdout, cmd.Stderr = stdout, &stderr
		err = runGroup(cmd)
		said := strings.TrimSpace(stderr.String())
		switch {
		case err == nil, errors.Is(err, exec.ErrWaitDelay): // with the latter it has succeeded, too
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case strings.Contains(said, "image not known"), strings.Contains(said, "no such image"):
			return &failure{fmt.Sprintf("%s has no such image (%s images lists those that it has)", program, program), ErrNotFound}
		}
		return fmt.Errorf("%s %s: %w: %s", program, arguments[program][0], err, said)
	}
	return errors.New("neither podman nor buildah is installed, which read the storage")
}
