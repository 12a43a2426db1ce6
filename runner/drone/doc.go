// Package drone works for a Drone server, as one of its runners: it polls for stages over
// HTTP, has them run, and reports steps, logs and ends. It speaks version 2 of the
// protocol of drone/drone 1 and 2.
//
// It does not run anything itself: Options.Execute does. What pipelines mean is
// pipeline/drone's.
package drone
