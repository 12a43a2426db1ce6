package logs_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/logs"
)

// TestPrintableIsAllButControlsAndBeyondASCII tries every byte at every place of a text.
func TestPrintableIsAllButControlsAndBeyondASCII(t *testing.T) {
	for size := 1; size <= 20; size++ {
		for _, around := range []string{" ", "a", "~"} {
			for place := range size {
				for c := range 256 {
					text := strings.Repeat(around, place) + string([]byte{byte(c)}) + strings.Repeat(around, size-place-1)
					want := size
					if c < ' ' || c > '~' {
						want = place
					}
					if got := logs.Printable(text); got != want {
						t.Fatalf("%q: got %d, want %d", text, got, want)
					}
				}
			}
		}
	}
}
