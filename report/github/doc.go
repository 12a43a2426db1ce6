// Package github shows a run in the log of a GitHub Actions job: a group a step,
// annotations on the pipeline file, secrets masked by the runner too, a summary page and
// the outputs of the job's step, in the forms of GitHub's "Workflow commands" and
// "Workflow syntax" pages.
//
// It is not for: running on GitHub's side, which is the action's business.
package github
