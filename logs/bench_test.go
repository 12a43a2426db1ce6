package logs_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stepexec/stepexec/logs"
)

// benchSize is small enough to be written between two interruptions by other processes.
const benchSize = 256 << 10

// logText is benchSize bytes of 100-byte lines of words, paths and numbers.
func logText() []byte {
	words := []string{"compiling", "src/main.c", "warning:", "ok", "0.123s", "PASS", "github.com/acme/tool", "the", "linking", "error", "INFO", "2026-11-23T14:00:00Z", "a1b2c3d4", "-O2", "test_42", "Downloading"}
	rnd := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 0, benchSize+200)
	for len(text) < benchSize {
		end := len(text) + 99
		for len(text) < end {
			text = append(append(text, words[rnd.IntN(len(words))]...), ' ')
		}
		text = append(text[:end], '\n')
	}
	return text[:benchSize]
}

// randomSecrets are n secrets of 20 to 39 letters, digits and specials.
func randomSecrets(n int) []string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=!$&"
	rnd := rand.New(rand.NewPCG(3, 4))
	secrets := make([]string, n)
	for i := range secrets {
		secret := make([]byte, 20+rnd.IntN(20))
		for k := range secret {
			secret[k] = alphabet[rnd.IntN(len(alphabet))]
		}
		secrets[i] = string(secret)
	}
	return secrets
}

func BenchmarkMask(b *testing.B) {
	text := logText()
	for _, bb := range []struct {
		name    string
		secrets []string
	}{
		{"20 secrets", randomSecrets(20)},
		{"100 secrets", randomSecrets(100)},
		{"one of 4 bytes", append(randomSecrets(19), "pas1")},
		{"in every line", append(randomSecrets(19), "github.com/acme")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := logs.NewMask(bb.secrets).Writer(io.Discard)
			writeRepeatedly(b, w, text)
		})
	}
}

func BenchmarkNewMask(b *testing.B) {
	for _, n := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("%d secrets", n), func(b *testing.B) {
			secrets := randomSecrets(n)
			b.ReportAllocs()
			for b.Loop() {
				logs.NewMask(secrets)
			}
		})
	}
}

func BenchmarkLines(b *testing.B) {
	text := logText()
	l := logs.NewLines(func([]logs.Line) {})
	writeRepeatedly(b, l, text)
}

// writeRepeatedly writes text until the benchmark is over, and reports the speed of the quickest time: the one figure
// that hardly depends on what else the machine does.
func writeRepeatedly(b *testing.B, w io.Writer, text []byte) {
	b.Helper()
	b.SetBytes(int64(len(text)))
	quickest := time.Duration(math.MaxInt64)
	for b.Loop() {
		begin := time.Now()
		writeAll(b, w, text)
		quickest = min(quickest, time.Since(begin))
	}
	b.ReportMetric(float64(len(text))/1e6/quickest.Seconds(), "best-MB/s")
}

// writeAll writes text as a reader of a pipe does, 32 KiB at a time.
func writeAll(b *testing.B, w io.Writer, text []byte) {
	b.Helper()
	for len(text) > 0 {
		n, err := w.Write(text[:min(32<<10, len(text))])
		if err != nil {
			b.Fatal(err)
		}
		text = text[n:]
	}
}

// BenchmarkNewMaskOfMuch is 1 MB of secrets, as one and as many.
func BenchmarkNewMaskOfMuch(b *testing.B) {
	for _, length := range []int{1 << 20, 1 << 10, 100, 20} {
		b.Run(fmt.Sprintf("%d bytes each", length), func(b *testing.B) {
			var secrets []string
			for _, s := range randomSecrets(max(1, 1<<20/length)) {
				for len(s) < length {
					s += s
				}
				secrets = append(secrets, s[:length])
			}
			b.ReportAllocs()
			for b.Loop() {
				logs.NewMask(secrets)
			}
		})
	}
}
