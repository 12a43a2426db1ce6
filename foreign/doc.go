// Package foreign runs the test suites of containerd, umoci and go-containerregistry against
// stepexec's own pull and unpack.
//
// The suites come from the Go module proxy. The test copies the module of each to a temporary
// folder and puts one function of ours (testdata/SUITE/stepexec.go) in the place of the one that
// unpacks there. The map differences has the tests that stepexec does not pass, each with the reason why
// it decides otherwise; a test that passes although it is listed is an error, too.
//
// It is a module of its own, so that stepexec depends on none of these projects for its tests.
// The tests need root, for mounts.
package foreign
