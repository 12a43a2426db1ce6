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
	made := make(chan error)
	go func() { made <- makeNetns(path) }()
	if err := <-made; err != nil {
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

// makeNetns takes its thread into a new network namespace and back. The
// goroutine ends with its thread locked, and so the thread with it, when there
// was no way back: nothing else may run in the wrong namespace.
func makeNetns(path string) error {
	runtime.LockOSThread()
	const own = "/proc/thread-self/ns/net"
	host, err := os.Open(own)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer host.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = errors.Join(prepareNetns(), unix.Mount(own, path, "", unix.MS_BIND, ""))
	if back := unix.Setns(int(host.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("return to the host's network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
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
