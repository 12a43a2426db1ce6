// Package artifact collects the files that a step leaves for people: test results, programs,
// logs.
//
// The workspace belongs to strangers, who may change it while it is read. Every file is opened
// beneath the workspace, by descriptor; no link is followed out of it; devices, FIFOs and sockets
// are refused without being opened; and the number and size of the files are bounded. What was
// collected holds directories and regular files only, so whoever reads it meets no link.
package artifact
