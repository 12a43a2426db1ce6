// Package pipeline is the model of a pipeline and its native file format.
//
// [Parse] reads a pipeline file strictly: every unknown key, wrong type and
// impossible combination is an [Error] with its line and column, and all of
// them are reported at once. [Pipeline.Plan] adds what the command line brings
// (environment, secrets, a choice of steps) and resolves the file into a
// [Plan]: plain values, ready to be run.
//
// The package runs nothing and pulls nothing. The only files it reads are the
// env files that Plan is told of. Other file formats turn themselves into a
// [Pipeline] in packages of their own.
package pipeline
