// Package trace sends a run as an OpenTelemetry trace, with a span for the run, for each step and for
// what a step waited for, and as metrics. It follows the CI/CD semantic conventions.
//
// Both are sent once, when the run has ended, as OTLP/HTTP in JSON (the OpenTelemetry protocol 1.x).
// A collector that is slow or away never fails or delays a run by more than the timeout; what it
// does not take is dropped.
package trace
