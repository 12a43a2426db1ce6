package unpack_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// unpackWithContainerd is containerd, which unpacks every layer on top of a mount of those below and mounts them as stepexec does.
func unpackWithContainerd(t *testing.T, layout string) reference {
	t.Helper()
	ctr := startContainerd(t)
	if err := ctr("images", "import", "--no-unpack", "--base-name", "samples.test/s", archiveOf(t, layout)); err != nil {
		t.Fatal(err)
	}
	return reference{
		name: containerd,
		unpack: func(t *testing.T, tag string) (string, error) {
			target := plainDir(t)
			if err := ctr("images", "mount", "--snapshotter", "overlayfs", "samples.test/s:"+tag, target); err != nil {
				return "", err
			}
			t.Cleanup(func() {
				if err := unix.Unmount(target, 0); err != nil {
					t.Errorf("unmount %s: %v", target, err)
				}
			})
			return target, nil
		},
		rules: []*rule{
			{why: "the entry of the root is ignored", field: "mode", holds: isRoot},
			{why: "the entry of the root is ignored", field: "owner", holds: isRoot},
			{why: "the entry of the root is ignored", field: "mtime", holds: isRoot},
			{why: "a directory that a layer does not declare gets the time of unpacking", field: "mtime", holds: isNewDirectory},
		},
	}
}

func isRoot(path string, _, _ place) bool { return path == "." }

// containerdConfig has all that containerd would use of the machine in one directory, and no more plugins than
// it takes to unpack an image.
const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
  "io.containerd.runtime.v1.linux", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "%[1]s/sock"
[plugins."io.containerd.snapshotter.v1.overlayfs"]
  root_path = "%[1]s/snapshots"
`

// startContainerd starts a containerd of the test's own and returns its client. At the end of the test it is
// stopped, and no mount of it may be left.
func startContainerd(t *testing.T) (ctr func(args ...string) error) {
	t.Helper()
	base := plainDir(t)
	root := filepath.Join(base, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	// In memory, where the syncs of hundreds of blobs and transactions cost nothing; the layers are on disk.
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Errorf("unmount %s: %v", root, err)
		}
	})
	config := filepath.Join(base, "config.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, containerdConfig, base), 0o600); err != nil {
		t.Fatal(err)
	}
	ready := listenReady(t, filepath.Join(base, "notify"))
	logFile, err := os.Create(filepath.Join(base, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	daemon := exec.Command("containerd", "--config", config)
	daemon.Env = append(os.Environ(), "NOTIFY_SOCKET="+ready.LocalAddr().String())
	daemon.Stdout, daemon.Stderr = logFile, logFile
	// A test that panics or runs out of time leaves no daemon either.
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopContainerd(t, daemon, base) })
	if err := waitReady(ready); err != nil {
		log, _ := os.ReadFile(logFile.Name())
		t.Fatalf("containerd is not ready: %v\n%s", err, log)
	}
	return func(args ...string) error {
		out, err := exec.Command("ctr", append([]string{"--address", filepath.Join(base, "sock"), "--namespace", "unpack-test"}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ctr %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
}

// listenReady listens where a daemon tells that it is ready (sd_notify(3)).
func listenReady(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func waitReady(conn *net.UnixConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	message := make([]byte, 4096)
	n, err := conn.Read(message)
	if err == nil && !strings.Contains(string(message[:n]), "READY=1") {
		err = fmt.Errorf("it says %q", message[:n])
	}
	return err
}

func stopContainerd(t *testing.T, daemon *exec.Cmd, base string) {
	if err := daemon.Process.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Errorf("containerd: %v", err)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(base))
	if err != nil {
		t.Error(err)
	}
	for _, m := range mounts {
		if m.FSType == "tmpfs" {
			continue // ours
		}
		t.Errorf("containerd left a mount on %s", m.Mountpoint)
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}

// archiveOf writes an OCI layout as a tar.
func archiveOf(t *testing.T, layout string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(plainDir(t), "layout.tar"))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(file)
	if err := errors.Join(w.AddFS(os.DirFS(layout)), w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}
