package record

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
)

// TestASlowDiskLosesLinesAndSaysSo has a pipe that nobody reads for the disk.
func TestASlowDiskLosesLinesAndSaysSo(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(writer, 0)
	l.patience = time.Millisecond
	e := event.Event{Kind: event.Line, Text: strings.Repeat("x", 60<<10)}
	lost := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.lost
	}
	written := 0
	for lost() < 3 { // without end, if it waited for the disk
		l.addLine(&e)
		written++
	}
	if written*len(e.Text) > 3*queueBytes {
		t.Errorf("%d lines of 60 kB were taken while nobody read", written)
	}
	closed := make(chan error, 1)
	go func() { closed <- l.close() }()
	lines := bufio.NewScanner(reader)
	lines.Buffer(nil, 1<<20)
	var last string
	read := 0
	for lines.Scan() {
		last = lines.Text()
		read++
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(last, "lacks 3 lines") || read != written-3+1 {
		t.Errorf("%d lines of %d, the last %.200s", read, written, last)
	}
}

func TestADiskThatFailsIsReported(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	l := newLog(writer, 0)
	e := event.Event{Kind: event.Line, Text: strings.Repeat("x", 60<<10)}
	for range 2 * queueBytes / len(e.Text) {
		l.addLine(&e)
	}
	if err := l.close(); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("error %v", err)
	}
}

// brokenDisk meets a bug at every write.
type brokenDisk struct{}

func (brokenDisk) Write([]byte) (int, error) { panic("a bug") }
func (brokenDisk) Close() error              { return nil }

func TestAPanicOfTheWriterIsAnErrorOfTheLogAndDelaysNobody(t *testing.T) {
	l := newLog(brokenDisk{}, 0)
	l.patience = time.Hour
	e := event.Event{Kind: event.Line, Text: strings.Repeat("x", 60<<10)}
	for range 2 * queueBytes / len(e.Text) {
		l.addLine(&e)
	}
	l.add([]byte("{}\n"))
	crashed := (*crash.Error)(nil)
	if err := l.close(); !errors.As(err, &crashed) || crashed.Value != "a bug" {
		t.Errorf("error %v, want a panic", err)
	}
}

func BenchmarkLine(b *testing.B) {
	e := event.Event{Time: time.Now(), Kind: event.Line, Step: "build", Stream: event.Stdout, Text: strings.Repeat("text ", 16)}
	var encoder event.LineEncoder
	var to []byte
	b.SetBytes(int64(len(e.Text)))
	for b.Loop() {
		to = encoder.Append(to[:0], &e)
	}
}

// nowhere is a file whose writes take no time.
type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

func TestTheEndOfARecordDoesNotWaitForMoreLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(nowhere{io.Discard}, 0)
		l.addLine(&event.Event{Kind: event.Line, Text: "x"})
		synctest.Wait() // until the writer gathers lines
		began := time.Now()
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 0 { // by the clock of the test, which stands still otherwise
			t.Errorf("it waited %s", waited)
		}
	})
}
