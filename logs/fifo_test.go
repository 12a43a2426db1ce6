package logs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/logs"
)

// childMode makes this test binary the child of a test: it prints the flags of its standard output.
const childMode = "LOGS_TEST_PRINT_FLAGS"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		flags, err := unix.FcntlInt(1, unix.F_GETFL, 0)
		if err != nil {
			panic(err)
		}
		if flags&unix.O_NONBLOCK != 0 {
			_, _ = os.Stdout.WriteString("nonblocking")
		} else {
			_, _ = os.Stdout.WriteString("blocking")
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func newFIFO(t *testing.T) (*logs.FIFO, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdout")
	f, err := logs.NewFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, path
}

// start runs a command with the FIFO as its standard output and seals the FIFO.
func start(t *testing.T, f *logs.FIFO, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout = f.Writer()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := f.Seal(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// pump reads the FIFO to its end, or until the deadline if that is not zero.
func pump(t *testing.T, f *logs.FIFO, deadline time.Time) ([]byte, error) {
	t.Helper()
	var got bytes.Buffer
	p, err := logs.NewPump([]*logs.FIFO{f}, []io.Writer{&got})
	if err != nil {
		t.Fatal(err)
	}
	if !deadline.IsZero() {
		if err := p.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	err = p.Run()
	if closed := p.Close(); closed != nil {
		t.Error(closed)
	}
	return got.Bytes(), err
}

func TestFIFOCarriesWhatAChildWrites(t *testing.T) {
	f, path := newFIFO(t)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeNamedPipe|0o600 {
		t.Fatalf("Lstat: %v, %v", info.Mode(), err)
	}
	const size = 1 << 20 // more than a pipe holds, so the child waits for the reader
	cmd := start(t, f, "head", "-c", "1048576", "/dev/zero")
	got, err := pump(t, f, time.Time{})
	if err != nil || len(got) != size {
		t.Errorf("read %d bytes, %v; want %d", len(got), err, size)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestFIFOWriterBlocks(t *testing.T) {
	t.Setenv(childMode, "1")
	f, _ := newFIFO(t)
	cmd := start(t, f, "/proc/self/exe")
	got, err := pump(t, f, time.Time{})
	if string(got) != "blocking" || err != nil {
		t.Errorf("the child's standard output is %q, %v", got, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestFIFOEndsAreCloseOnExec(t *testing.T) {
	_, path := newFIFO(t)
	out, err := exec.CommandContext(t.Context(), "ls", "-l", "/proc/self/fd").Output()
	if err != nil || strings.Contains(string(out), path) {
		t.Errorf("a child inherits the FIFO: %v\n%s", err, out)
	}
}

func TestFIFOHasNoEndBeforeSeal(t *testing.T) {
	f, _ := newFIFO(t)
	if _, err := pump(t, f, time.Now().Add(10*time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Run: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := f.Seal(); err != nil {
		t.Fatal(err)
	}
	if _, err := pump(t, f, time.Time{}); err != nil {
		t.Errorf("Run after Seal: %v", err)
	}
}

func TestFIFOIsDrainedWhenAGrandchildKeepsItOpen(t *testing.T) {
	f, _ := newFIFO(t)
	stop, holder, err := os.Pipe() // the grandchild lives until this pipe ends
	if err != nil {
		t.Fatal(err)
	}
	defer stop.Close()
	defer holder.Close()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "cat <&3 & echo last words")
	cmd.ExtraFiles, cmd.Stdout = []*os.File{stop}, f.Writer()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := f.Seal(); err != nil {
		t.Fatal(err)
	}
	got, err := pump(t, f, time.Now().Add(50*time.Millisecond))
	if string(got) != "last words\n" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %q, %v; want the words and %v", got, err, os.ErrDeadlineExceeded)
	}
}

func TestFIFOIsRemovedByClose(t *testing.T) {
	f, path := newFIFO(t)
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the FIFO is still there: %v", err)
	}
}

func TestNewFIFOErrorsNameThePath(t *testing.T) {
	_, path := newFIFO(t)
	for _, tt := range []struct {
		path string
		want error
	}{
		{path, fs.ErrExist},
		{filepath.Join(path, "below"), unix.ENOTDIR},
		{filepath.Join(t.TempDir(), "missing", "x"), fs.ErrNotExist},
	} {
		f, err := logs.NewFIFO(tt.path)
		if f != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("NewFIFO(%s) = %v, %v; want %v", tt.path, f, err, tt.want)
		}
	}
}
