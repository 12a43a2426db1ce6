package network

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoProgram says that what leads a private network outside without root is
// not installed, or cannot do it.
var ErrNoProgram = errors.New("no network for users without root")

// ConnectByProgram is an Options.Connect: a program copies packets between the
// router's uplink, a tap device, and ordinary sockets of the host. It is pasta
// or otherwise slirp4netns. Neither leads to the loopback of the host, where
// services trust whoever they hear. dir, which must exist, takes their files.
func ConnectByProgram(dir string) func(namespace string) (release func() error, err error) {
	return func(namespace string) (func() error, error) {
		failed := []error{ErrNoProgram}
		for _, start := range []func(dir, namespace string) (*os.Process, error){startPasta, startSlirp4netns} {
			program, err := start(dir, namespace)
			if err == nil {
				return func() error { return endProgram(program) }, nil
			}
			failed = append(failed, err)
		}
		return nil, fmt.Errorf("%w (install one, e.g. apt-get install passt or slirp4netns; users must be able to open /dev/net/tun)", errors.Join(failed...))
	}
}

func endProgram(program *os.Process) error {
	err := program.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	if err == nil {
		_, err = program.Wait()
	}
	return err
}

// startPasta returns when the namespace is connected: pasta goes into the
// background, as a child of ours.
func startPasta(dir, namespace string) (*os.Process, error) {
	pid := filepath.Join(dir, "pasta.pid")
	out, err := exec.Command("pasta", "--quiet", "--config-net", "--no-map-gw", "--ns-ifname", uplinkName,
		"-t", "none", "-u", "none", "-T", "none", "-U", "none", "--pid", pid, "--netns", namespace).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pasta: %w", saidWhy(err, out))
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		return nil, fmt.Errorf("pasta: %w", err)
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("pasta: read %s: %w", pid, err)
	}
	return os.FindProcess(number)
}

// startSlirp4netns returns when the namespace is connected, which the program
// tells by a byte.
func startSlirp4netns(dir, namespace string) (*os.Process, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	cmd := exec.Command("slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=3", "--netns-type=path", namespace, uplinkName)
	cmd.ExtraFiles = []*os.File{out}
	log, err := os.Create(filepath.Join(dir, "slirp4netns.log"))
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	defer log.Close()
	cmd.Stderr = log // a file, so that nobody needs to read along
	if err := errors.Join(cmd.Start(), out.Close()); err != nil {
		return nil, err
	}
	if _, err := in.Read(make([]byte, 1)); err != nil { // it has ended
		_ = cmd.Wait() // with an exit code that says less than its words
		text, err := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("slirp4netns: %s", bytes.TrimSpace(text)), err)
	}
	return cmd.Process, nil
}

// saidWhy is why a program failed: what it printed, which is clearer than its
// exit status.
func saidWhy(err error, printed []byte) error {
	printed = bytes.TrimSpace(printed)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() && len(printed) > 0 {
		return errors.New(string(printed))
	}
	return err
}
