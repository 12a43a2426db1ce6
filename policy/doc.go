// Package policy says what a pipeline may ask for on this machine: which host
// directories it may mount, which images may be privileged, which networks,
// devices and capabilities it may use. Parse reads a policy file, Check holds
// what a step asks for against it, and HostPath says what host path a mount may
// use in place of the one that was written.
//
// It is not for confining a step, which package sandbox does, and knows nothing
// of pipelines: the caller says what each step asks for.
package policy
