// Package event holds what a run says about itself: the events, the results of
// steps, and the summary at the end. The engine sends them; reports, displays,
// records and the runners of CI servers read them.
//
// Events go one way, from the engine to whoever listens. Their JSON form is the
// output of `stepexec run --output json` and is stable: see Version.
package event
