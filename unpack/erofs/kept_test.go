package erofs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// imageOf writes an image with one file and returns its path.
func imageOf(t *testing.T, content string) string {
	t.Helper()
	m := newImage(t)
	m.finish(directory(names{"file": m.regular(content)}))
	return m.file.Name()
}

// keptAt mounts the image at a folder, checks its file, and returns the number of its file system: two mounts of
// one file system share what is in memory.
func keptAt(t *testing.T, kept *erofs.Kept, image, content string) (dev uint64) {
	t.Helper()
	dir := t.TempDir()
	if err := kept.MountAt(image, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != content {
		t.Fatalf("%q, %v; want %q", got, err, content)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev
}

func TestAnImageStaysMountedBetweenUses(t *testing.T) {
	needRoot(t)
	image, kept := imageOf(t, "content"), &erofs.Kept{}
	defer kept.Close()
	first := keptAt(t, kept, image, "content")
	if second := keptAt(t, kept, image, "content"); second != first {
		t.Error("the second mount is of a new file system")
	}
	if other := keptAt(t, kept, imageOf(t, "other"), "other"); other == first {
		t.Error("two images are one file system")
	}
	kept.Sweep() // the image is there
	if third := keptAt(t, kept, image, "content"); third != first {
		t.Error("Sweep has let go of an image that is there")
	}
	kept.Close()
	// The number of the first one cannot be given out again: its mounts are still there.
	if again := keptAt(t, kept, image, "content"); again == first {
		t.Error("the image was mounted after Close")
	}
	var none *erofs.Kept
	if a, b := keptAt(t, none, image, "content"), keptAt(t, none, image, "content"); a == b {
		t.Error("a nil Kept keeps mounts")
	}
	none.Sweep()
	none.Close()
}

func TestAnImageThatWasReplacedIsMountedAnew(t *testing.T) {
	needRoot(t)
	image, kept := imageOf(t, "old"), &erofs.Kept{}
	defer kept.Close()
	old := keptAt(t, kept, image, "old")
	if err := os.Rename(imageOf(t, "new"), image); err != nil {
		t.Fatal(err)
	}
	if keptAt(t, kept, image, "new") == old {
		t.Error("the new image is the old file system")
	}
	kept.Sweep()
	keptAt(t, kept, image, "new")
	if err := os.Remove(image); err != nil {
		t.Fatal(err)
	}
	kept.Sweep()
	if err := kept.MountAt(image, t.TempDir()); err == nil {
		t.Error("an image that is gone can be mounted")
	}
}

// TestWhatIsSweptIsNotOnTheDiskAnyMore: a file system on which a removed file is still open cannot be unmounted.
func TestWhatIsSweptIsNotOnTheDiskAnyMore(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name  string
		letGo func(*erofs.Kept)
	}{{"Sweep", (*erofs.Kept).Sweep}, {"Close", (*erofs.Kept).Close}} {
		kept, disk, dir := &erofs.Kept{}, t.TempDir(), t.TempDir()
		defer kept.Close()
		if err := unix.Mount("/", disk, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }()
		image := imageOf(t, "content")
		if err := kept.MountAt(filepath.Join(disk, image), dir); err != nil {
			t.Fatal(err)
		}
		if err := unix.Unmount(disk, 0); err == nil {
			t.Error("the image is not open on its file system")
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Unmount(disk, 0); err == nil {
			t.Error("the image did not stay mounted")
		}
		if err := os.Remove(image); err != nil {
			t.Fatal(err)
		}
		c.letGo(kept)
		eventually(t, c.name+" lets go of the image", func() error { return unix.Unmount(disk, 0) })
	}
}

func TestNobodyElseSeesKeptMounts(t *testing.T) {
	needRoot(t)
	kept, image, dir := &erofs.Kept{}, imageOf(t, "content"), t.TempDir()
	defer kept.Close()
	before := mountNamespaces(t)
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.MountAt(image, dir); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), image) {
		t.Errorf("the image is in mountinfo (%v):\n%s", err, mounts)
	}
	if now, err := os.Readlink("/proc/self/ns/mnt"); now != own {
		t.Errorf("the process is in the mount namespace %s, not in %s (%v)", now, own, err)
	}
	added := slices.DeleteFunc(mountNamespaces(t), func(ns string) bool { return slices.Contains(before, ns) })
	if len(added) != 1 {
		t.Fatalf("mount namespaces of threads that are new: %q", added)
	}
	kept.Close()
	eventually(t, "the thread ends with Close", func() error {
		if slices.Contains(mountNamespaces(t), added[0]) {
			return fmt.Errorf("a thread is in %s", added[0])
		}
		return nil
	})
}

func TestManyImagesAtOnceFromManyGoroutines(t *testing.T) {
	needRoot(t)
	var images []string
	for i := range 300 { // more than stay mounted
		images = append(images, imageOf(t, fmt.Sprint(i)))
	}
	kept := &erofs.Kept{}
	defer kept.Close()
	var all sync.WaitGroup
	for from := range 4 {
		dir := t.TempDir()
		all.Go(func() {
			for i := range images {
				i = (i + from*70) % len(images)
				if err := kept.MountAt(images[i], dir); err != nil {
					t.Error(err)
					return
				}
				if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != fmt.Sprint(i) {
					t.Errorf("image %d: %q, %v", i, got, err)
				}
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					kept.Sweep()
				}
			}
		})
	}
	all.Wait()
}

// mountNamespaces lists the mount namespaces that threads of this process are in.
func mountNamespaces(t *testing.T) (all []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/task/*/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil { // a thread may have ended
			all = append(all, target)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// eventually waits, for a minute at most, until look finds nothing wrong.
func eventually(t *testing.T, what string, look func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := look()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited for: %s: %v", what, err)
		}
	}
}
