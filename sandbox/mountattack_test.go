package sandbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/sandbox"
)

func bind(source, destination string) sandbox.Mount {
	return sandbox.Mount{Type: "bind", Source: source, Destination: destination, Options: []string{"rbind", "rw"}}
}

func TestNothingIsMountedOverTheKernelsFiles(t *testing.T) {
	host := openHost(t)
	for _, destination := range []string{"/", "//", "/.", "/x/..", "/proc", "/proc/", "/proc/self/attr", "/../proc/sys", "/sys", "/sys/fs/cgroup", "proc"} {
		for _, kind := range []string{"bind", "tmpfs"} {
			step := script(t, "true")
			step.Mounts = []sandbox.Mount{{Type: kind, Source: t.TempDir(), Destination: destination}}
			if err := refusal(t, host, step); !strings.Contains(err, "mount at "+destination) {
				t.Errorf("%s at %s: got %q", kind, destination, err)
			}
		}
	}
}

// A link in the image must not lead a mount to a place where it was not meant
// to be. Where the place is harmless and in the image the mount is there.
func TestMountsThroughLinksOfTheImage(t *testing.T) {
	sentinel := t.TempDir()
	outside := strings.Repeat("../", 12) + sentinel
	tests := []struct {
		name, target string
		ok           bool
	}{
		{"to the root", "/", false},
		{"to the root by ..", "../../../..", false},
		{"to /proc", "/proc", false},
		{"into /proc", "/proc/self/attr", false},
		{"to /sys", "/sys", false},
		{"into /sys", "/sys/firmware", false},
		{"out of the image", outside, true},
		{"to a descriptor", "/proc/self/fd/6", false},
		{"to a directory of the image", "tmp", true},
	}
	host := openHost(t)
	for _, test := range tests {
		for _, kind := range []string{"bind", "tmpfs"} {
			t.Run(test.name+", "+kind, func(t *testing.T) {
				step := script(t, ": > /workspace/made; test -e /proc/self/status; test -e /sys/class")
				must(t, os.Symlink(test.target, filepath.Join(step.Lowerdirs[0], "workspace")))
				must(t, os.MkdirAll(filepath.Join(step.Lowerdirs[0], sentinel), 0o755))
				step.Mounts = []sandbox.Mount{{Type: kind, Source: t.TempDir(), Destination: "/workspace"}}
				if kind == "bind" {
					step.Mounts[0].Options = []string{"rbind", "rw"}
				}
				_, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
					if !test.ok {
						t.Error("prepared")
						return
					}
					must(t, s.Start(t.Context()))
					if exit, err := s.Wait(t.Context(), sandbox.Stopping{}); err != nil || exit.Code != 0 {
						t.Errorf("code %d, %v", exit.Code, err)
					}
				})
				if (err == nil) != test.ok {
					t.Errorf("got error %v", err)
				}
				if left, _ := os.ReadDir(sentinel); len(left) > 0 {
					t.Errorf("the host's directory holds %v", left)
				}
			})
		}
	}
}

func TestKernelDirectoriesOfTheImageThatAreLinksAreRefused(t *testing.T) {
	host := openHost(t)
	for _, name := range []string{"dev", "proc", "sys"} {
		for _, target := range []string{"/tmp", "/proc", "../../../../../../../proc", "."} {
			step := script(t, "true")
			must(t, os.Symlink(target, filepath.Join(step.Lowerdirs[0], name)))
			if err := refusal(t, host, step); !strings.Contains(err, "refused: its /"+name+" is not a directory") {
				t.Errorf("/%s -> %s: got %q", name, target, err)
			}
		}
	}
}

// The runtime hides /proc/kcore and the like with the container's /dev/null: a
// link in its place would show, or open for writing, what it leads to
// (CVE-2025-31133).
func TestMasksHoldWhateverTheImageHasAsDevNull(t *testing.T) {
	const masked = "test -c /proc/keys && ! test -s /proc/keys && wc -c < /proc/keys"
	fakeDev := func(t *testing.T, dir string) {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.Symlink("/proc/sys/kernel/core_pattern", filepath.Join(dir, "null")))
	}
	host := openHost(t)
	t.Run("in the image", func(t *testing.T) {
		step := script(t, masked)
		fakeDev(t, filepath.Join(step.Lowerdirs[0], "dev"))
		if got, stderr, exit := output(t, host, step); got != "0\n" {
			t.Errorf("code %d, got %q, %s", exit.Code, got, stderr)
		}
	})
	t.Run("in a mount at /dev", func(t *testing.T) {
		step, dev := script(t, masked), t.TempDir()
		fakeDev(t, dev)
		step.Mounts = []sandbox.Mount{bind(dev, "/dev")}
		if err := refusal(t, host, step); !strings.Contains(err, "not masked") && !strings.Contains(err, "create container") {
			t.Errorf("got %q", err)
		}
	})
	t.Run("in a mount at /dev/null", func(t *testing.T) {
		step, file := script(t, "cat /proc/keys | wc -c"), filepath.Join(t.TempDir(), "file")
		write(t, file, "not nothing")
		step.Mounts = []sandbox.Mount{bind(file, "/dev/null")}
		// runc 1.1 masks with what is at /dev/null, which is refused, and later ones refuse it
		// themselves. With crun the step is made, and must not read what is masked.
		out, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
			must(t, s.Start(t.Context()))
			_, err := s.Wait(t.Context(), sandbox.Stopping{})
			must(t, err)
		})
		if err == nil && out[0] != "0\n" && out[0] != "" || err != nil && !strings.Contains(err.Error(), "not masked") && !strings.Contains(err.Error(), "/dev/null is invalid") {
			t.Errorf("got %q, %v", out[0], err)
		}
	})
}

// An earlier step may have put a link in the place of a directory that a later
// one mounts (CVE-2017-1002101, CVE-2024-1753).
func TestMountSourcesInTheWorkspaceStayInIt(t *testing.T) {
	host := openHost(t)
	sentinel := t.TempDir()
	write(t, filepath.Join(sentinel, "key"), "of the host\n")
	for name, target := range map[string]string{
		"absolute": sentinel, "relative": strings.Repeat("../", 12) + sentinel, "magic": "/proc/1/root" + sentinel,
	} {
		t.Run(name, func(t *testing.T) {
			workspace := t.TempDir()
			earlier := script(t, "ln -s "+target+" /workspace/cache")
			earlier.Workspace, earlier.Mounts = workspace, []sandbox.Mount{bind(workspace, "/workspace")}
			_, _, exit := output(t, host, earlier)
			if exit.Code != 0 {
				t.Fatalf("exit code %d", exit.Code)
			}
			for _, source := range []string{"cache", "cache/sub", "cache/../cache/key"} {
				for _, create := range []bool{false, true} {
					later := script(t, "cat /cache/key")
					later.Workspace = workspace
					later.Mounts = []sandbox.Mount{bind(workspace, "/workspace"), bind(filepath.Join(workspace, source), "/cache")}
					later.Mounts[1].Create = create
					if err := refusal(t, host, later); !strings.Contains(err, "a link leads out of "+workspace) {
						t.Errorf("source %s: got %q", source, err)
					}
				}
			}
			if left, _ := os.ReadDir(sentinel); len(left) != 1 {
				t.Errorf("the host's directory holds %v", left)
			}
		})
	}
}

func TestMountSourcesInTheWorkspaceWork(t *testing.T) {
	workspace, volumes := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(workspace, "real/deep"), 0o755))
	must(t, os.Symlink("real/deep", filepath.Join(workspace, "inner")))
	write(t, filepath.Join(workspace, "real/file"), "content\n")
	step := script(t, ": > /inner/a; : > /new/b; cat /file; : > /volume/c; ! touch /ro/d")
	step.Workspace, step.Roots = workspace, []string{volumes}
	step.Mounts = []sandbox.Mount{
		bind(workspace, "/workspace"), bind(workspace+"/inner", "/inner"), bind(workspace+"/new/dir", "/new"),
		bind(workspace+"/real/file", "/file"), bind(volumes+"/v", "/volume"),
		{Type: "bind", Source: workspace + "/real", Destination: "/ro", Options: []string{"rbind", "ro"}},
	}
	step.Mounts[2].Create, step.Mounts[4].Create = true, true
	if got, stderr, exit := output(t, openHost(t), step); exit.Code != 0 || got != "content\n" {
		t.Errorf("code %d, output %q, %s", exit.Code, got, stderr)
	}
	for _, path := range []string{workspace + "/real/deep/a", workspace + "/new/dir/b", volumes + "/v/c"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// A step that runs may swap directories of the workspace and links while the
// next one is created: as the destination of a mount (CVE-2021-30465), and as
// its source.
func TestLinksSwappedWhileContainersAreCreatedLeadNowhere(t *testing.T) {
	workspace, sentinel := t.TempDir(), t.TempDir()
	write(t, filepath.Join(sentinel, "key"), "of the host\n")
	for _, place := range []string{"destination", "source"} {
		must(t, os.Mkdir(filepath.Join(workspace, place), 0o755))
	}
	must(t, os.Symlink("/", filepath.Join(workspace, "destination-link")))
	must(t, os.Symlink(strings.Repeat("../", 12)+sentinel, filepath.Join(workspace, "source-link")))
	stop := swapForever(t, workspace, "destination", "source")

	host := openHost(t)
	const probe = `awk '$5 == "/"' /proc/self/mountinfo | wc -l; cat /source/key 2>/dev/null || echo none`
	refused, ran := 0, 0
	const attempts = 60 // a few hundred, by hand, found nothing more
	for i := range attempts {
		step := script(t, probe)
		step.ID = fmt.Sprint(i)
		step.Workspace = workspace
		step.Mounts = []sandbox.Mount{
			bind(workspace, "/workspace"), {Type: "tmpfs", Destination: "/workspace/destination"}, bind(workspace+"/source", "/source"),
		}
		out, err := runStep(t, host, step, func(s *sandbox.Sandbox) {
			must(t, s.Start(t.Context()))
			_, err := s.Wait(t.Context(), sandbox.Stopping{})
			must(t, err)
		})
		if err != nil {
			refused++
			continue
		}
		ran++
		if out[0] != "1\nnone\n" {
			t.Errorf("the step saw %q", out[0])
		}
	}
	stop()
	t.Logf("%d ran, %d were refused", ran, refused)
	if left, _ := os.ReadDir(sentinel); len(left) != 1 {
		t.Errorf("the host's directory holds %v", left)
	}
	if ran == 0 || refused == 0 {
		t.Errorf("%d ran and %d were refused: the links were not swapped in between", ran, refused)
	}
}

// swapForever exchanges names with those that have -link behind them, as fast
// as it can.
func swapForever(t *testing.T, dir string, names ...string) (stop func()) {
	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			for _, name := range names {
				path := filepath.Join(dir, name)
				if err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, path+"-link", unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { close(done); swapping.Wait() }) }
	t.Cleanup(stop)
	return stop
}

// Taking a mount away takes it from all that share it, and where the host's
// directory is shared that is the host.
func TestMountsOfTheHostBelowASourceStay(t *testing.T) {
	workspace := t.TempDir()
	must(t, unix.Mount("tmpfs", workspace, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(workspace, unix.MNT_DETACH)) })
	must(t, unix.Mount("", workspace, "", unix.MS_SHARED, ""))
	inner := filepath.Join(workspace, "source/inner")
	must(t, os.MkdirAll(inner, 0o755))
	must(t, unix.Mount("tmpfs", inner, "tmpfs", 0, ""))
	write(t, filepath.Join(inner, "file"), "of the inner mount\n")
	step := script(t, "cat /source/inner/file")
	step.Workspace, step.Mounts = workspace, []sandbox.Mount{bind(workspace+"/source", "/source")}
	got, stderr, _ := output(t, openHost(t), step)
	if got != "of the inner mount\n" {
		t.Errorf("the step saw %q, %s", got, stderr)
	}
	if _, err := os.Stat(filepath.Join(inner, "file")); err != nil {
		t.Errorf("the host's mount is gone: %v", err)
	}
}
