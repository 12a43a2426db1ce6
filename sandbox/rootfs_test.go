package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOverlayMountsLayersOfAnyNameWithTheTopmostOnTop(t *testing.T) {
	ways := map[string]func(lowerdirs []string, upper, work, target string) error{
		"mount API": fsmountOverlay,
		"mount(2)":  classicOverlay, // what kernels before 6.8 get
	}
	for name, mount := range ways {
		for _, names := range [][]string{{"one"}, {"a:b", "c,d", `e\f`}, numbered(128)} {
			t.Run(fmt.Sprintf("%s, %d layers", name, len(names)), func(t *testing.T) {
				dir := t.TempDir()
				var lowerdirs []string
				for _, name := range names {
					lower := filepath.Join(dir, name)
					lowerdirs = append(lowerdirs, lower)
					if err := os.Mkdir(lower, 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(lower, "top"), []byte(name), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				target := filepath.Join(dir, "target")
				for _, path := range []string{"upper", "work", "target"} {
					if err := os.Mkdir(filepath.Join(dir, path), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				if err := mount(lowerdirs, filepath.Join(dir, "upper"), filepath.Join(dir, "work"), target); err != nil {
					t.Fatal(err)
				}
				defer unix.Unmount(target, unix.MNT_DETACH)
				top, err := os.ReadFile(filepath.Join(target, "top"))
				if err != nil || string(top) != names[len(names)-1] {
					t.Errorf("on top is %q, %v", top, err)
				}
			})
		}
	}
}

func numbered(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint(i))
	}
	return names
}

func TestStopSignalIsReadInEveryForm(t *testing.T) {
	for name, want := range map[string]unix.Signal{
		"": unix.SIGTERM, "SIGQUIT": unix.SIGQUIT, "quit": unix.SIGQUIT, "3": unix.SIGQUIT, "RTMIN+3": unix.SIGTERM, "0": unix.SIGTERM, "nonsense": unix.SIGTERM,
	} {
		if got := stopSignal(name); got != want {
			t.Errorf("stop signal %q is %v, want %v", name, got, want)
		}
	}
}

func TestRuntimesWordsAboutTheCommandAreRecognised(t *testing.T) {
	for message, want := range map[string]int{
		`exec: "nope": executable file not found in $PATH`:                        127, // runc
		`exec: "/bin/nope": stat /bin/nope: no such file or directory`:            127,
		"executable file `nope` not found in $PATH: No such file or directory":    127, // crun
		`exec: "/etc/passwd": permission denied`:                                  126,
		"open executable: Permission denied":                                      126,
		`mounting "/x" to rootfs at "/x": no such file or directory`:              0,
		`error mounting "/proc" to rootfs at "/proc": operation not permitted`:    0,
		`unable to apply cgroup configuration: mkdir /sys/fs/cgroup/x: no such d`: 0,
	} {
		if code, _ := commandFailure(message); code != want {
			t.Errorf("%q is %d, want %d", message, code, want)
		}
	}
}
