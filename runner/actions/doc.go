// Package actions is what GitHub Actions needs of stepexec: the inputs of its action
// (action.yml), and the container hook of a self-hosted runner.
//
// The runner calls the hook once for each thing that it wants, with a JSON document on
// standard input. A job's containers outlive such a call: a keeper, a process of the job's
// own, runs them and does what later calls ask of it by a socket.
//
//	runner ─▶ prepare_job ──starts──▶ keeper: services, and the job's container
//	runner ─▶ run_script_step ──────▶ keeper: one more program in the job's container
//	runner ─▶ run_container_step ───▶ keeper: one more container
//	runner ─▶ cleanup_job ──────────▶ keeper: ends, and takes all away
//
// It is not for: what a run prints for GitHub, which is package report's, nor for anything
// that other CI systems have too.
package actions
