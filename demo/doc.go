// Package demo makes a pipeline that runs on any machine, without a registry or a network: its only
// image holds the program of stepexec itself, which is the shell of that image, too; see shell.go.
package demo
