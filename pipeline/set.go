package pipeline

import "time"

// Set is what a file or a folder of another CI system means: one pipeline or several,
// each with a workspace of its own. Its packages (pipeline/drone, pipeline/woodpecker)
// return it; whoever runs it goes by the dependencies.
type Set struct {
	Workflows []Workflow        // in the order of the file, or of the names of files
	Secrets   map[string]string // that the file itself holds, decrypted
	External  []ExternalSecret  // that the file says are elsewhere
	Warnings  Errors            // what the CI system ignores without a word
}

// ExternalSecret is a secret of another place, such as a vault, that whoever runs the file asks.
type ExternalSecret struct {
	Name      string // in the file
	Path, Key string // in the other place
}

// Workflow is a pipeline of a [Set].
type Workflow struct {
	*Pipeline // those of one matrix share its Name, and differ in Cell

	// DependsOn are the names of others that must have ended before, and RunOn says after
	// which ends of theirs it runs; the zero RunOn is on success. All of them are
	// in the set, and none of them is left out.
	DependsOn []string
	RunOn     RunOn

	// Conditional says that it has conditions of its own, whether they hold or not.
	Conditional bool

	// When are these conditions, of a file that is read to be converted; any of them must hold.
	When []Condition

	Wrong   Errors // why it cannot run, whatever others of the set can
	LeftOut string // why its conditions keep it out of this build; "" is in
	Cell    Cell   // of a matrix that is put into the text of the file before it is read; nil: Pipeline.Matrix says

	// Variables are what the CI system gives to a step, or a service, of this name,
	// beside what the file says. They are below everything in the file.
	Variables func(step string) []Variable

	Labels map[string]string // what a runner must have to be given it

	// Fixed are variables whose value is the same in every build, of a file that is read to be
	// converted.
	Fixed map[string]string
}

// Whole returns what is wrong with the pipelines, where none of the set can run.
func (s *Set) Whole() error {
	var wrong Errors
	for _, w := range s.Workflows {
		if w.Wrong == nil {
			return nil
		}
		wrong = append(wrong, w.Wrong...)
	}
	return wrong.result()
}

// Build is what a pipeline is run for: what CI servers tell steps in their variables.
// A command line has it from flags, the CI's own variables and the git checkout. What is
// empty is not known.
type Build struct {
	Facts

	Number, Parent   int64
	Link             string
	Created, Started time.Time
	Sender           string // login of who caused it

	Commit                     string // full hash
	Before                     string // hash of the commit before the push
	SourceBranch, TargetBranch string // the same unless it is a pull request
	Message                    string
	CommitLink                 string
	CommitTime                 time.Time
	Author                     Person
	PullRequest                int64
	PullRequestTitle           string

	Repository Repository
	System     System
	Variables  map[string]string // further variables that the server gave the build, by their names there
}

// Person is who made a commit.
type Person struct{ Login, Name, Email, Avatar string }

// Repository is where a build's commit comes from.
type Repository struct {
	Owner, Name      string
	Link             string // of its page
	CloneURL, SSHURL string
	DefaultBranch    string
	Private          bool
	Trusted          bool // its pipelines may ask for what touches the host
}

// System is the CI server.
type System struct{ Name, Host, Proto, Version string }
