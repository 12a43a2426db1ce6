package main

import (
	"os"

	"github.com/stepexec/stepexec/trace"
)

// newTracer returns the tracer that the variables of OpenTelemetry ask for; nil: none. Settings that
// are wrong change nothing of a run.
func newTracer(say func(line string)) *trace.Tracer {
	t, err := trace.FromEnvironment(os.Getenv, say)
	if err != nil {
		say("warning: no traces and no metrics are sent: " + err.Error())
	}
	return t
}
