// Package woodpecker is an agent of a Woodpecker server: it asks the server for
// workflows, has them run, and reports their steps and what these print.
//
// What a workflow means is in package pipeline/woodpecker, and running is the caller's
// part (runner.Execute). docs/runner-woodpecker.md is for those who operate it.
package woodpecker
