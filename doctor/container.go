package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepexec/stepexec/sandbox"
)

// settings reads the settings file: without a readable one nothing runs.
func (m *Machine) settings(context.Context) Result {
	if err := m.Settings(); err != nil {
		return fail(err.Error(), "correct the file, or name another with --settings")
	}
	return ok("read without errors")
}

// container is the check that all others prepare for.
func (m *Machine) container(ctx context.Context) Result {
	if err := m.Container(ctx); err != nil {
		return fail(err.Error(), "")
	}
	return ok("was made, ran and is gone")
}

// expected is the exit code of RunContainer's program: neither 0 nor a code that the runtime itself
// could return.
const expected = 42

// RunContainer creates a container exactly as stepexec does for a step, runs a tiny program in it
// and removes it. The error says what did not work. RunContainer removes the state root again if it
// did not exist before.
func RunContainer(ctx context.Context, o sandbox.Options) (err error) {
	program, ok := tinyProgram(expected)
	if !ok {
		return fmt.Errorf("there is no test program for this processor")
	}
	if _, missing := os.Stat(o.Root); missing != nil {
		o.RuntimeCalls = true // otherwise the state root would keep what was learned about the runtime, and mount points
		defer func() {
			_ = os.Remove(filepath.Join(o.Root, "runs")) // like the next line: only when it is empty
			_ = os.Remove(o.Root)
		}()
	}
	host, err := sandbox.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, host.Close()) }()
	layer, err := writeLayer(o.Root, program)
	defer func() { err = firstOf(err, os.RemoveAll(layer)) }()
	if err != nil {
		return err
	}
	return runStep(ctx, host, layer)
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// writeLayer creates the image: a directory with a program, on the file system that holds layers.
func writeLayer(root string, program []byte) (dir string, err error) {
	if dir, err = os.MkdirTemp(root, ".stepexec-doctor-"); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return dir, err
	}
	return dir, os.WriteFile(filepath.Join(dir, "program"), program, 0o755)
}

func runStep(ctx context.Context, host *sandbox.Host, layer string) (err error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	box, err := host.Prepare(ctx, &sandbox.Step{
		ID: "doctor", Image: "of stepexec doctor", Lowerdirs: []string{layer}, Entrypoint: []string{"/program"}, Stdout: null, Stderr: null,
	})
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, box.Remove()) }()
	if err := box.Start(ctx); err != nil {
		return err
	}
	exit, err := box.Wait(ctx, sandbox.Stopping{})
	if err == nil && exit.Code != expected {
		err = fmt.Errorf("the container ended with exit code %d, not %d", exit.Code, expected)
	}
	return err
}
