package unpack_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

// A disk is an ext4 file system in a file, whose copy at any moment is what a power loss would leave: the
// file has what the kernel has written back, and nothing else.
type disk struct {
	image, mountpoint string
}

func newDisk(t *testing.T) disk {
	t.Helper()
	needRoot(t)
	d := disk{filepath.Join(plainDir(t), "disk"), plainDir(t)}
	run(t, "truncate", "-s", "256M", d.image)
	run(t, "mkfs.ext4", "-q", d.image)
	d.mount(t)
	return d
}

func (d disk) mount(t *testing.T) {
	t.Helper()
	run(t, "mount", "-o", "loop", d.image, d.mountpoint)
	t.Cleanup(func() {
		if err := unix.Unmount(d.mountpoint, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", d.mountpoint, err)
		}
	})
}

// afterPowerLoss is the disk as the next boot finds it. Only the boot id is still that of this boot.
func (d disk) afterPowerLoss(t *testing.T) disk {
	t.Helper()
	next := disk{filepath.Join(plainDir(t), "disk"), plainDir(t)}
	run(t, "cp", "--sparse=always", d.image, next.image)
	next.mount(t)
	markers, err := filepath.Glob(next.mountpoint + "/store/*/*/unsettled")
	more, err2 := filepath.Glob(next.mountpoint + "/store/*/*/*/unsettled")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, marker := range append(markers, more...) {
		if err := os.WriteFile(marker, []byte("an earlier boot"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return next
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// Whatever the disk has when the power goes, a layer that counts as good afterwards is good, byte by byte; once it was
// settled, it counts.
func TestPowerLossOnARealDisk(t *testing.T) {
	for _, format := range []unpack.Format{unpack.FormatDirectories, unpack.FormatErofs} {
		t.Run(string(format), func(t *testing.T) {
			layers := []unpack.Layer{
				layerOf(t, file("large", content(20<<20)), file("small", "x")), layerOf(t, file("other", content(1<<20)), link("l", "large")),
			}
			d := newDisk(t)
			s := reopen(t, d.mountpoint+"/store")
			s.Format = format
			if _, err := s.Unpack(t.Context(), layers, nil); err != nil {
				t.Fatal(err)
			}
			checkAfterPowerLoss(t, d.afterPowerLoss(t), layers, format, false)
			run(t, "sync", "--file-system", d.mountpoint) // by chance, before Settle
			checkAfterPowerLoss(t, d.afterPowerLoss(t), layers, format, false)
			if err := s.Settle(); err != nil {
				t.Fatal(err)
			}
			run(t, "sync", "--file-system", d.mountpoint) // the removal of the markers, which may wait
			checkAfterPowerLoss(t, d.afterPowerLoss(t), layers, format, true)
		})
	}
}

// checkAfterPowerLoss also unpacks the layers again: what is left of them must not be in the way.
func checkAfterPowerLoss(t *testing.T, d disk, layers []unpack.Layer, format unpack.Format, settled bool) {
	t.Helper()
	s := reopen(t, d.mountpoint+"/store")
	s.Format = format
	for _, l := range layers {
		if has := s.Has(l.DiffID); has != settled {
			t.Errorf("settled %v: the store has the layer: %v", settled, has)
		}
	}
	for range 2 {
		for _, l := range layers {
			if err := s.WriteTar(t.Context(), l.DiffID, io.Discard); s.Has(l.DiffID) && err != nil {
				t.Errorf("settled %v: %v", settled, err)
			}
		}
		if _, err := s.Unpack(t.Context(), layers, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
