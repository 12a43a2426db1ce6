// Package run takes a run from its files to its result, for every way in: the command line,
// the runners of CI servers, and programs that embed stepexec.
//
//	request := run.Request{File: "pipeline.yml", Root: root, ...}
//	jobs, err := request.Jobs(ctx)                     // read and checked: one job a pipeline and cell
//	code, err := run.All(ctx, jobs, machine, options)  // planned, run and recorded, in their order
//
// A Request finds and reads the pipeline file, of whatever format, and asks git and the CI's
// variables what its conditions are about. A Job is one pipeline in one cell of its matrix; it
// is planned when its turn comes, because a large matrix of large pipelines does not fit in
// memory. All runs the jobs in the order that they depend on each other. Around each of them,
// Execute opens the sandbox's host and the store, keeps the record, and trims what is too much.
//
// The package prints nothing. Lines for people go to the Say of a Request or a Machine.
package run
