// Package policy is the one gate that every step passes before anything is done for it,
// whatever brought it in: a pipeline file, `stepexec step`, a shell, a file of Drone or
// Woodpecker, their servers, or the container hook of GitHub Actions.
//
//	rules := policy.Untrusted()                  // or Trusted, Actions, FromServer, Parse
//	rules, err := rules.For(source)              // of a file with rules by repository, the right ones
//	plan, err := rules.Plan(p, inputs, origin)   // plans a pipeline under the rules and admits it
//	plan, err := rules.Admit(planned, origin)    // admits a plan that was made otherwise
//	summary, err := engine.Run(ctx, plan, options)
//
// A *Plan is made by this package only, and [engine.Run] and [engine.Spec] take nothing
// else, so that a way in that goes around the gate does not compile. What comes to a run
// while it goes on passes the same rules:
//
//	step, err := plan.Extra(plannedStep)         // one more step, for Serving.Run
//	joined, err := plan.Join("service")          // one more program in a container, for Serving.Exec
//	step, err := rules.AdmitStep(plannedStep, origin) // a kept or running step, for engine.LookInto and engine.Join
//
// A keeper reaches the plan that it serves by [engine.Serving.Plan].
//
// A refusal is a [Denials]: each [Denial] names step, key, value and the rule that refuses
// it. What is admitted can differ from what was planned: limits that the step leaves out
// are the policy's ceilings, a privileged image loses variables that are not for it, and
// mount sources are the paths that were looked at. [Plan.Roots] are the folders that no
// source of a mount, image, input or output may lead out of when it is opened.
//
// Every key of a step has a trust class ([pipeline.Keys]), and every class but the free
// one has a rule here; tests hold both to it.
//
// The package does not confine a step, which package sandbox does.
//
// [engine.Run]: https://pkg.go.dev/github.com/stepexec/stepexec/engine#Run
// [engine.Spec]: https://pkg.go.dev/github.com/stepexec/stepexec/engine#Spec
// [engine.Serving.Plan]: https://pkg.go.dev/github.com/stepexec/stepexec/engine#Serving.Plan
package policy
