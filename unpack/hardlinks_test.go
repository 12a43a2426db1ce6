package unpack_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

// ext4 takes 65,000 hard links to one file. The error of a layer with more says what to do.
func TestMoreHardLinksThanExt4Takes(t *testing.T) {
	needRoot(t)
	device, mounted := filepath.Join(t.TempDir(), "ext4"), t.TempDir()
	if err := errors.Join(os.WriteFile(device, nil, 0o600), os.Truncate(device, 64<<20)); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"mkfs.ext4", "-q", device}, {"mount", "-o", "loop", device, mounted}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", command, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mounted, 0); err != nil {
			t.Error(err)
		}
	})
	store, err := unpack.OpenStore(filepath.Join(mounted, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	store.Format = unpack.FormatDirectories
	entries := []entry{file("a", "1")}
	for i := range 70_000 {
		entries = append(entries, link(fmt.Sprintf("l/%d", i), "a"))
	}
	data := tarOf(t, entries...)
	_, err = store.Unpack(t.Context(), []unpack.Layer{streamLayer(data, zstded(t, data))}, nil)
	if err == nil || !errors.Is(err, unix.EMLINK) || !strings.Contains(err.Error(), "--layer-format erofs") {
		t.Errorf("got %v", err)
	}
}
