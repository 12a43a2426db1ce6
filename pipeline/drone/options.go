package drone

import "github.com/stepexec/stepexec/pipeline"

// Options say for what build, and for what kind of runner, a file is read. The zero value
// is for looking at a file: nothing is substituted but with empty text.
type Options struct {
	Build   pipeline.Build
	Params  map[string]string // of the build
	Environ []string          // NAME=value that the runner gives to every step
	Proxies []string          // NAME=value of the runner's own proxies, for every step; privileged plugins get them, too

	// Stage is the pipeline that a server asks for. Only it is returned then, whatever its
	// trigger says: the server has decided that. nil is all of them.
	Stage *Stage

	// Raw leaves ${...} as it is, and decides no triggers: for converting a file that is to
	// be run for other builds, too.
	Raw bool

	AsDocker         bool     // pipelines of the types kubernetes and exec run as those of type docker
	Untrusted        bool     // the repository may not use what touches the host
	SecretKey        string   // of the repository, 32 bytes; "": encrypted secrets stay unknown
	Clone            string   // image of the clone step; "": the workspace has the sources already
	PrivilegedImages []string // plugins that are privileged by themselves; nil: DefaultPrivileged
	Network          string   // of steps without network_mode; "" is the host's
	Netrc            *Netrc   // credentials of the git server; nil: none are needed
	FailedStages     []string // that failed before, of the same build
	NetrcCloneOnly   bool     // they are for the clone step alone
	Volumes          []pipeline.Mount
	Devices          []pipeline.Device // of every step that is not privileged, which has all
	Limits           pipeline.Limits   // of every step, where the file says nothing
}

// Stage is what a server says of the pipeline that it wants to be run.
type Stage struct {
	Name             string
	Number           int
	Kind, Type       string
	OS, Arch         string
	Variant, Version string
	Machine          string
	Started          int64 // Unix seconds
	DependsOn        []string
}

// Netrc is an entry of a .netrc file.
type Netrc struct{ Machine, Login, Password string }

// DefaultPrivileged are the plugins that Drone runs privileged without being asked.
func DefaultPrivileged() []string {
	return []string{"plugins/docker", "plugins/acr", "plugins/ecr", "plugins/gcr", "plugins/gar", "plugins/heroku"}
}
