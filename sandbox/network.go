package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// networkFiles writes the step's /etc/hosts and /etc/resolv.conf into dir and
// returns the mounts that put them in place. A step on the host's network
// resolves names as the host does; every one of names is 127.0.0.1 there.
func networkFiles(dir string, network string, names []string) ([]specs.Mount, error) {
	hosts := []byte("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	var resolv []byte
	if network == NetworkHost {
		var err error
		if hosts, err = readOrNothing("/etc/hosts"); err != nil {
			return nil, err
		}
		if resolv, err = readOrNothing("/etc/resolv.conf"); err != nil {
			return nil, err
		}
	}
	if len(hosts) > 0 && !bytes.HasSuffix(hosts, []byte("\n")) {
		hosts = append(hosts, '\n')
	}
	for _, name := range names {
		hosts = append(hosts, "127.0.0.1\t"+name+"\n"...)
	}
	var mounts []specs.Mount
	for _, file := range []struct {
		path string
		data []byte
	}{{"/etc/hosts", hosts}, {"/etc/resolv.conf", resolv}} {
		source := filepath.Join(dir, filepath.Base(file.path))
		if err := writeFile(source, file.data, 0o644); err != nil {
			return nil, err
		}
		mounts = append(mounts, bindFile(source, file.path, "rw"))
	}
	return mounts, nil
}

func bindFile(source, destination string, options ...string) specs.Mount {
	return specs.Mount{
		Type: "bind", Source: source, Destination: destination,
		Options: append([]string{"bind", "rprivate", "nosuid", "nodev"}, options...),
	}
}

func readOrNothing(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// writeFile is os.WriteFile with a mode that the umask does not narrow.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
