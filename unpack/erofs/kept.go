package erofs

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mostKept = 256              // images that stay mounted
	keptFor  = 10 * time.Minute // after the last use of any
)

// Kept keeps images mounted between their uses, so that what the kernel has read of their files stays in memory:
// a new mount of an image begins with nothing. The mounts are in a mount namespace of one thread. Nobody else
// sees them, and they end with the process, however it ends, and ten minutes after their last use. Until then
// they keep the disk space of an image that is removed, unless Sweep is called.
//
// The zero value is ready. A nil *Kept keeps nothing. The methods may be called from several goroutines.
type Kept struct {
	mu     sync.Mutex
	calls  chan func() // to the thread; nil: there is none
	mounts map[imageID]*keptMount
	idle   *time.Timer
}

// An imageID tells image files apart. A mount holds its file, so that no other gets its inode meanwhile.
type imageID struct{ dev, ino uint64 }

type keptMount struct {
	image string // path
	place string // in the thread's namespace
	used  time.Time
}

// MountAt attaches the image at path to the directory dir as MountAt of this package does. Where the mount
// cannot be kept, it is made for this call.
func (k *Kept) MountAt(path, dir string) error {
	if k == nil {
		return MountAt(path, dir)
	}
	fd, err := k.mount(path)
	if err != nil {
		return MountAt(path, dir)
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount image %s at %s: %w", path, dir, err)
	}
	return nil
}

// Sweep lets go of the images that have been removed or replaced since they were mounted.
func (k *Kept) Sweep() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, m := range k.mounts {
		if now, err := identify(m.image); err != nil || now != id {
			k.drop(id)
		}
	}
}

// Close lets go of all images. Kept can be used again.
func (k *Kept) Close() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls == nil {
		return
	}
	k.idle.Stop()
	for id := range k.mounts {
		k.drop(id)
	}
	close(k.calls)
	k.calls = nil
}

// mount returns a new, detached mount of the image with the files that are in memory, as a descriptor.
func (k *Kept) mount(path string) (fd int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.begin(); err != nil {
		return -1, err
	}
	id, err := identify(path)
	if err != nil {
		return -1, err
	}
	m := k.mounts[id]
	if m == nil {
		if m, err = k.keep(path, id); err != nil {
			return -1, err
		}
	}
	m.used = time.Now()
	k.idle.Reset(keptFor)
	k.do(func() {
		fd, err = unix.OpenTree(unix.AT_FDCWD, m.place, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	})
	return fd, os.NewSyscallError("open_tree", err)
}

// keep mounts the image in the thread's namespace, in place of the one that was not used for longest if there
// are too many.
func (k *Kept) keep(path string, id imageID) (m *keptMount, err error) {
	if len(k.mounts) >= mostKept {
		k.drop(slices.MinFunc(slices.Collect(maps.Keys(k.mounts)), func(a, b imageID) int {
			return k.mounts[a].used.Compare(k.mounts[b].used)
		}))
	}
	fd, err := mount(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	m = &keptMount{image: path, place: fmt.Sprintf("/%d-%d", id.dev, id.ino)}
	k.do(func() {
		if err = unix.Mkdir(m.place, 0o700); err == nil {
			err = unix.MoveMount(fd, "", unix.AT_FDCWD, m.place, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		if err != nil {
			_ = unix.Rmdir(m.place) // the first error is the one to report
		}
	})
	if err != nil {
		return nil, err
	}
	k.mounts[id] = m
	return m, nil
}

// drop unmounts an image. Whoever has got a mount of it keeps that.
func (k *Kept) drop(id imageID) {
	place := k.mounts[id].place
	delete(k.mounts, id)
	k.do(func() {
		_ = unix.Unmount(place, unix.MNT_DETACH) // of a mount that only this thread knows
		_ = unix.Rmdir(place)
	})
}

// begin starts the thread, if there is none.
func (k *Kept) begin() error {
	if k.calls != nil {
		return nil
	}
	calls, began := make(chan func()), make(chan error)
	go onOtherThread(func() {
		err := ownNamespace()
		began <- err
		if err != nil {
			return
		}
		for call := range calls {
			call()
		}
	})
	if err := <-began; err != nil {
		return err
	}
	k.calls, k.mounts = calls, map[imageID]*keptMount{}
	k.idle = time.AfterFunc(keptFor, k.Close)
	return nil
}

// do has the thread call f, and waits.
func (k *Kept) do(f func()) {
	done := make(chan struct{})
	k.calls <- func() { defer close(done); f() }
	<-done
}

// onOtherThread calls f on a thread that ends with it, and that is not the first one: /proc/self is the first
// thread's, and would show its mounts to the whole process.
func onOtherThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f() // the thread stays locked, so that it ends with this goroutine
		return
	}
	began := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(began)
		f()
	}()
	<-began // until then this goroutine occupies the first thread
	runtime.UnlockOSThread()
}

// ownNamespace gives the thread a mount namespace whose root is an empty tmpfs: any other mount in it would keep
// the host from unmounting that file system.
func ownNamespace() error {
	const anyFolder = "/proc"
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"unshare", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"mount --make-rprivate", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount tmpfs", func() error {
			return unix.Mount("tmpfs", anyFolder, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0700")
		}},
		{"chdir", func() error { return unix.Chdir(anyFolder) }},
		{"pivot_root", func() error { return unix.PivotRoot(".", ".") }},
		{"umount", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"chdir", func() error { return unix.Chdir("/") }},
	} {
		if err := step.call(); err != nil { // what follows would change the host's mounts
			return os.NewSyscallError(step.name, err)
		}
	}
	return nil
}

func identify(path string) (imageID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return imageID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return imageID{st.Dev, st.Ino}, nil
}
