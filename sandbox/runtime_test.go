package sandbox_test

import (
	"cmp"
	"os"
)

// testRuntime is the OCI runtime that the tests use: what the variable
// STEPEXEC_TEST_RUNTIME names, else runc.
func testRuntime() string { return cmp.Or(os.Getenv("STEPEXEC_TEST_RUNTIME"), "runc") }

// byCalls says whether the runtime itself is to start and delete the containers of tests.
func byCalls() bool { return os.Getenv("STEPEXEC_TEST_RUNTIME_CALLS") != "" }

// bySystemd says whether systemd is to make the cgroups of the steps of tests.
func bySystemd() bool { return os.Getenv("STEPEXEC_TEST_SYSTEMD") != "" }
