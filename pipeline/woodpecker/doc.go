// Package woodpecker turns Woodpecker's workflows into the model of package pipeline:
// [Config.Pipeline] those that a server has compiled and sends to its agents as JSON.
//
// It runs nothing. The differences that are meant are listed in docs/compat-woodpecker.md.
package woodpecker
