package engine

import (
	"bytes"
	"errors"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
)

// errNoNewPrivileges explains what sudo complains of.
var errNoNewPrivileges = errors.New("sudo and other setuid programs do not work in this step, because it has no allow_new_privileges " +
	"(set allow_new_privileges: true, or --allow-new-privs with stepexec step; a policy must allow it too)")

// setuidComplaint looks in what a step prints for the words by which sudo says that it can do
// nothing (prctl(2), PR_SET_NO_NEW_PRIVS). Other setuid programs only say that they may not.
type setuidComplaint struct {
	found bool // final once all output was read
}

// newSetuidComplaint returns nil for a step in which setuid programs work.
func newSetuidComplaint(step *pipeline.PlannedStep) *setuidComplaint {
	if step.Security.AllowNewPrivileges || step.Security.Privileged || step.Advanced.Spec != nil {
		return nil
	}
	return &setuidComplaint{}
}

// look looks at output of the step. On nil it does nothing.
func (c *setuidComplaint) look(data []byte) {
	if c != nil && !c.found {
		c.found = bytes.Contains(data, []byte(`"no new privileges" flag is set`))
	}
}

// explain gives the outcome of a step that failed the reason why sudo did not work. On nil it
// changes nothing.
func (c *setuidComplaint) explain(end outcome) outcome {
	if c != nil && c.found && end.status == event.Failed && end.err == nil {
		end.err = errNoNewPrivileges
	}
	return end
}
