package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// newNetns makes a network namespace whose loopback interface is up and pins
// it at path, a file, by a bind mount: it lives until that is unmounted and its
// last process has ended.
func newNetns(path string) error {
	if err := writeFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := onOwnThread(func() error { return makeNetns(path) }); err != nil {
		return fmt.Errorf("make a network namespace: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// unpinNetns undoes newNetns. It is no error when that has been done.
func unpinNetns(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("unmount %s: %w", path, err)
}

// onOwnThread runs f on a thread that ends with it: nothing else ever runs in
// the namespaces that f has joined. Without root there is no way back to the
// host's.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good, so that the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// makeNetns takes its thread into a new network namespace.
func makeNetns(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	return errors.Join(prepareNetns(), unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""))
}

// prepareNetns sets up the calling thread's network namespace. As in docker, a
// step needs no privilege for ports below 1024 of a network of its own.
func prepareNetns() error {
	if err := linkUp("lo"); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0o644)
}

// linkUp sets an interface up; see netdevice(7).
func linkUp(name string) error {
	request, err := linkIoctl(name, unix.SIOCGIFFLAGS, nil)
	if err != nil {
		return err
	}
	flags := request.Uint16() | unix.IFF_UP
	_, err = linkIoctl(name, unix.SIOCSIFFLAGS, &flags)
	return err
}

// linkIoctl asks about a network interface, or, with flags, tells it.
func linkIoctl(name string, number uint, flags *uint16) (*unix.Ifreq, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, fmt.Errorf("network interface %q: %w", name, err)
	}
	if flags != nil {
		request.SetUint16(*flags)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	if err := unix.IoctlIfreq(socket, number, request); err != nil {
		return nil, fmt.Errorf("network interface %s: %w", name, err)
	}
	return request, nil
}
