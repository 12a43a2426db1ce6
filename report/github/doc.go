// Package github shows a run in the log of a GitHub Actions job: a group for each step,
// annotations on the pipeline file, secrets that the runner masks too, a summary page, and the
// outputs of the job's step. GitHub's pages "Workflow commands" and "Workflow syntax" describe
// the formats.
//
// Package runner/actions is for the other side: it runs the jobs of a runner.
package github
