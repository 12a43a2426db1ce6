// Package pipeline is the model of a pipeline and its native file format.
//
// [Parse] reads a pipeline file strictly: every unknown key, wrong type and
// impossible combination is an [Error] with its line and column, and all of
// them are reported at once. [Pipeline.Plan] adds what the command line brings
// (environment, secrets, a choice of steps) and resolves the file into a
// [Plan]: plain values, ready to be run.
//
// The package runs nothing and pulls nothing. The only files it reads are the
// env files that Plan is told of.
//
// Files of other CI systems are read by packages of their own (pipeline/drone, …), which
// turn them into a [Set] of pipelines with dependencies between them, each a [Workflow]. What
// they need of the commit and the CI server they get as a [Build]; [ReadSource] reads
// their YAML with positions and the limits of native files. A package exports
//
//	func Load(path string, o Options) (*pipeline.Set, error)
//
// and one entry in run/formats.go makes run, explain, validate, lock, spec and
// convert know it.
package pipeline
