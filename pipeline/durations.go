package pipeline

import (
	"strings"
	"time"
)

// DurationText writes a duration as people do in pipeline files: 10m and 1h30m, without the zeros of
// time.Duration's own form.
func DurationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
