package live_test

import (
	"errors"
	"io"
	"testing"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/report/live"
)

func TestPanicOfADrawingIsAnErrorOfTheEnd(t *testing.T) {
	v := live.New(io.Discard, live.Options{Size: func() (columns, rows int) { panic("a bug") }})
	if crashed := (*crash.Error)(nil); !errors.As(v.End(), &crashed) {
		t.Error("the panic is not told")
	}
}
