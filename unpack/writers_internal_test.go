package unpack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// A panic of a writer is the error of its file, and every file is closed: the process goes on.
func TestPanicOfAWriterClosesAllFiles(t *testing.T) {
	for name, inline := range map[string]bool{"small layer": true, "large layer": false} {
		t.Run(name, func(t *testing.T) {
			w := writers{inline: inline, apply: func(f *output) error {
				if f.name == "b" {
					panic("a bug")
				}
				return nil
			}}
			var all []int
			for _, name := range []string{"a", "b", "c", "d"} {
				fd, err := unix.Open(filepath.Join(t.TempDir(), name), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, fd)
				f := w.file(fd, name, metadata{}, 0o600)
				w.put(f, w.space(1), 0, true)
			}
			var entry *EntryError
			var panicked *crash.Error
			if err := w.wait(); !errors.As(err, &entry) || entry.Name != "b" || !errors.As(err, &panicked) {
				t.Errorf("got %v", err)
			}
			for _, fd := range all {
				if _, err := os.Readlink(procPath(fd)); err == nil {
					t.Errorf("descriptor %d is open", fd)
				}
			}
		})
	}
}
