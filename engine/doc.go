// Package engine runs a plan: it fetches the images, starts every step as
// soon as the steps it depends on have ended, streams what the steps print,
// and says how it all ended. What happens is told in events, which go one
// way: to whoever listens.
//
// It is not for: reading pipeline files (package pipeline), for what a
// container is made of (sandbox), nor for showing anything (report).
package engine
