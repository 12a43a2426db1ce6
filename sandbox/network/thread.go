package network

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// OnOwnThread runs f on a thread that ends with it, so that nothing else ever
// runs in the namespaces that f has joined. Without root there is no way back
// to the host's. It is never the process's first thread, which cannot end, and
// whose namespaces /proc/self shows.
func OnOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer crash.Recover(&err)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			err = OnOwnThread(f) // on another thread, as this one is held
			runtime.UnlockOSThread()
			return
		}
		err = f() // and the thread, never unlocked, ends with the goroutine
	}()
	return <-done
}

// NewNamespace makes a network namespace, in which nothing is set up. It ends with the file and the
// processes in it, however those end.
func NewNamespace() (namespace *os.File, err error) {
	err = OnOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		namespace, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return namespace, err
}

// inside runs f on a thread in the network namespace of a file. What f opens
// there, such as a socket, stays in that namespace.
func inside(namespace *os.File, f func() error) error {
	return OnOwnThread(func() error {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
}

// pinNamespace makes a network namespace and pins it at path, a file, by a bind
// mount: it lives until that is unmounted and its last user is gone. prepare
// runs in it.
func pinNamespace(path string, prepare func() error) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	err = OnOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return errors.Join(unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""), prepare())
	})
	if err != nil {
		return fmt.Errorf("make a network namespace: %w", errors.Join(err, unpinNamespace(path), os.Remove(path)))
	}
	return nil
}

// pinOpen pins a namespace that is open at path, a file.
func pinOpen(namespace *os.File, path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", namespace.Fd()), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin the network namespace at %s: %w", path, err)
	}
	return nil
}

// unpinNamespace undoes pinNamespace and pinOpen. It is no error when that has been done.
func unpinNamespace(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("unmount %s: %w", path, err)
}
