package pipeline_test

import (
	"testing"
	"time"

	"github.com/stepexec/stepexec/pipeline"
)

func TestDurationTextHasNoZerosAndParsesAgain(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 200 * time.Millisecond: "200ms", 30 * time.Second: "30s", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + 10*time.Second: "1h0m10s",
		10 * time.Hour: "10h", 100 * time.Minute: "1h40m",
	} {
		got := pipeline.DurationText(d)
		if got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
		if again, err := time.ParseDuration(got); again != d || err != nil {
			t.Errorf("%q is parsed as %v, error %v", got, again, err)
		}
	}
}
