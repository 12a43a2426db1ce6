package logs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stepexec/stepexec/logs"
)

// both runs a shell script with two FIFOs as its output and pumps them into the writers.
func both(t *testing.T, script string, stdout, stderr io.Writer) error {
	t.Helper()
	out, _ := newFIFO(t)
	err, _ := newFIFO(t)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Stdout, cmd.Stderr = out.Writer(), err.Writer()
	p, pumpErr := logs.NewPump([]*logs.FIFO{out, err}, []io.Writer{stdout, stderr})
	startErr := cmd.Start()
	if failed := errors.Join(pumpErr, startErr, out.Seal(), err.Seal()); failed != nil {
		t.Fatal(failed)
	}
	pumpErr = p.Run()
	if failed := errors.Join(p.Close(), cmd.Wait()); failed != nil {
		t.Error(failed)
	}
	return pumpErr
}

// A shell that shows a command on stdout writes that before the command's error on stderr.
func TestPumpReadsTheFirstStreamFirstWhenBothAreReady(t *testing.T) {
	out, _ := newFIFO(t)
	err, _ := newFIFO(t)
	for _, write := range []struct {
		to   *logs.FIFO
		text string
	}{{err, "error\n"}, {out, "+ command\n"}} {
		if _, err := io.WriteString(write.to.Writer(), write.text); err != nil {
			t.Fatal(err)
		}
		if err := write.to.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	var all bytes.Buffer
	p, pumpErr := logs.NewPump([]*logs.FIFO{out, err}, []io.Writer{&all, &all})
	if pumpErr != nil {
		t.Fatal(pumpErr)
	}
	if err := errors.Join(p.Run(), p.Close()); err != nil || all.String() != "+ command\nerror\n" {
		t.Errorf("got %q, %v", all.String(), err)
	}
}

func TestPumpReadsAllOfBothStreams(t *testing.T) {
	var stdout, stderr bytes.Buffer
	err := both(t, "head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait", &stdout, &stderr)
	if err != nil || stdout.Len() != 3000000 || stderr.Len() != 2000000 {
		t.Errorf("read %d and %d bytes, %v", stdout.Len(), stderr.Len(), err)
	}
}

func TestPumpStopsWhenAWriterFails(t *testing.T) {
	if err := both(t, "echo x", failingWriter{os.ErrInvalid}, io.Discard); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("Run: %v, want %v", err, os.ErrInvalid)
	}
}

func TestPumpDeadlineEndsAWaitThatIsUnderWay(t *testing.T) {
	f, _ := newFIFO(t)
	p, err := logs.NewPump([]*logs.FIFO{f}, []io.Writer{io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- p.Run() }()
	if err := p.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Run: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// A prompt has no newline, and is waited for.
func TestPumpPassesOnAPromptAndNoHalfSecret(t *testing.T) {
	f, _ := newFIFO(t)
	lines := make(chan logs.Line, 10)
	split := logs.NewLines(func(all []logs.Line) {
		for _, line := range all {
			lines <- line
		}
	})
	mask := logs.NewMask([]string{"hunter2"}).Writer(split)
	p, err := logs.NewPump([]*logs.FIFO{f}, []io.Writer{mask})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- errors.Join(p.Run(), mask.Close(), split.Close()) }()
	for _, step := range []struct {
		write string
		want  logs.Line
	}{
		{"one\nPassword: ", logs.Line{Text: "one"}},
		{"", logs.Line{Text: "Password: ", Partial: true}},
		{"hunt", logs.Line{}}, // nothing: it may be the secret
		{"er2", logs.Line{Text: "***", Partial: true}},
		{"? hunt", logs.Line{Text: "? ", Partial: true}},
		{"ing\n", logs.Line{Text: "hunting"}},
	} {
		if _, err := io.WriteString(f.Writer(), step.write); err != nil {
			t.Fatal(err)
		}
		if step.want == (logs.Line{}) {
			continue
		}
		if line := <-lines; line != step.want {
			t.Errorf("after %q: got %+v, want %+v", step.write, line, step.want)
		}
	}
	if err := f.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-ended, p.Close()); err != nil {
		t.Error(err)
	}
	if len(lines) > 0 {
		t.Errorf("and then %+v", <-lines)
	}
}
