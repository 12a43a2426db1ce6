package pipeline

import "github.com/stepexec/stepexec/container"

// A step's container is described by the types of package container.
type (
	Names       = container.Names
	PullPolicy  = container.PullPolicy
	HostAddress = container.HostAddress
	Port        = container.Port
	Limits      = container.Limits
	Ulimit      = container.Ulimit
	Security    = container.Security
	Device      = container.Device
	IDMap       = container.IDMap
	Advanced    = container.Advanced
	Mount       = container.Mount
)

// The pull policies.
const (
	PullAlways  = container.PullAlways
	PullMissing = container.PullMissing
	PullNever   = container.PullNever
)

// StdinInherited as [Step.Stdin] is the standard input of stepexec itself.
const StdinInherited = "-"

// OutputNone as [Step.Output] throws away what a step prints.
const OutputNone = "none"

// Owner takes over the files that a step has made as root in the workspace.
type Owner struct {
	UID, GID  uint32
	Workspace bool // who owns the folder of the workspace, in place of UID and GID
}
