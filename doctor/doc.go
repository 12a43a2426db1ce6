// Package doctor examines a machine and reports whether steps can run on it. Each check says what
// it found and, if something is missing, the command that fixes it. The last check starts a
// container.
//
// It makes no lasting changes and fixes nothing by itself.
package doctor
