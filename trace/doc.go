// Package trace sends a run as an OpenTelemetry trace: a span for the run, for each step, and for
// what a step waited for. It follows the CI/CD semantic conventions.
//
// The trace is sent once, when the run has ended, as OTLP/HTTP in JSON (the OpenTelemetry protocol
// 1.x). A collector that is slow or away never fails or delays a run by more than the timeout; the
// trace is dropped.
package trace
