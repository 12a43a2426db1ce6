// Package doctor looks at a machine and says whether steps can run on it: each
// check names what it found, and where something is missing the command that
// mends it. The last check starts a container.
//
// It changes nothing that stays, and mends nothing by itself.
package doctor
