package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/stepexec/stepexec/fetch"
)

// Docker's defaults for the fields of an image's healthcheck
// (https://docs.docker.com/reference/dockerfile/#healthcheck).
const (
	healthInterval = 30 * time.Second
	healthTimeout  = 30 * time.Second
	healthRetries  = 3
)

// healthcheck is Docker's addition to an image's configuration; OCI's has no such field.
// Durations are nanoseconds; a field that is not set is zero.
type healthcheck struct {
	Test          []string // NONE; CMD and an argv; CMD-SHELL and a line for a shell
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
}

// healthcheckOf reads an image's healthcheck; it returns nil if the image has none.
func healthcheckOf(image *fetch.Image) (*healthcheck, error) {
	if len(image.RawConfig) == 0 {
		return nil, nil
	}
	var document struct {
		Config struct{ Healthcheck *healthcheck } `json:"config"`
	}
	if err := json.Unmarshal(image.RawConfig, &document); err != nil {
		return nil, fmt.Errorf("read the healthcheck of image %s: %w (set ready on the step)", image.Name, err)
	}
	check := document.Config.Healthcheck
	if check == nil || len(check.Test) < 2 || check.Test[0] != "CMD" && check.Test[0] != "CMD-SHELL" {
		return nil, nil
	}
	return check, nil
}

// argv is the program that checks.
func (c *healthcheck) argv() []string {
	if c.Test[0] == "CMD" {
		return c.Test[1:]
	}
	return []string{"/bin/sh", "-c", c.Test[1]}
}

// timeout is the time after which Docker would call the container unhealthy, but at least the
// timeout of other probes.
func (c *healthcheck) timeout() time.Duration {
	retries := c.Retries
	if retries <= 0 {
		retries = healthRetries
	}
	return max(readyTimeout, c.StartPeriod+time.Duration(retries)*orDefault(c.Interval, healthInterval))
}

// healthProbe checks as often as the image's start interval says, and otherwise as often as
// other probes: the image's interval is for a container that has long been ready.
func (rd *readiness) healthProbe(c *healthcheck) probe {
	rd.interval = orDefault(c.StartInterval, rd.interval)
	p := rd.execProbe(c.argv(), orDefault(c.Timeout, healthTimeout))
	p.what = "its image's healthcheck, " + p.what
	return p
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
