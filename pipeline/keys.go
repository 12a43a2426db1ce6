package pipeline

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Class says what a key of a step asks for, and so whether a policy has a say in it.
type Class string

// The trust classes.
const (
	Free         Class = "free"          // nothing beyond the step's own container
	Limit        Class = "limit"         // how much of the machine; policies have ceilings
	HostPath     Class = "host path"     // a file or folder of the host
	HostResource Class = "host resource" // another thing of the host: a device, network, port, cgroup, image, variable
	Privilege    Class = "privilege"     // less confinement, or an order to the runtime
	Joins        Class = "joins others"  // another process's namespaces, or another program in a container
)

// Key is a key of a step in a pipeline file. The table of keys, [Keys], is what the parser,
// the writer, the JSON schema, the flags of `stepexec step`, `stepexec explain` and the
// policy go by.
type Key struct {
	Name       string
	Doc        string // one sentence, for the schema and the reference
	Class      Class
	Fields     []string  // of PlannedStep that it decides, such as Limits.Memory
	Schema     string    // JSON Schema of its value
	Flags      []KeyFlag // of `stepexec step`
	OfSteps    bool      // services do not have it: they start before the steps and run until the last one ends
	BesideSpec bool      // it says what is done with a step and not what it is, and can be beside spec

	read  func(p *parser, s *Step, v value)
	write func(w *writer, s *Step) *yaml.Node // nil: another key writes it; a nil node: not given
}

// FlagKind says what the value of a flag becomes.
type FlagKind int

// The kinds of flags.
const (
	TextFlag   FlagKind = iota
	SizeFlag            // 0 is none, as for ctr and docker
	NumberFlag          // 0 and -1 are none, as for ctr and docker
	ToggleFlag          // true or false
	ListFlag            // one item a flag
	CommaFlag           // items between commas
	PairFlag            // NAME=VALUE
	ColonFlag           // NAME:VALUE
)

// KeyFlag is a flag of `stepexec step` that sets a key. It has the name that ctr has for it,
// or docker where that is another.
type KeyFlag struct {
	Name, Short string
	Kind        FlagKind
	Usage       string
}

// Keys are the keys of a step but its name, in the order in which they are written.
func Keys() []Key {
	return slices.Concat(runKeys(), orderKeys(), streamKeys(), nameKeys(), limitKeys(), securityKeys(), advancedKeys())
}

// isBesideSpec reports whether a key can be beside spec.
func isBesideSpec(name string) bool {
	return name == "name" || slices.ContainsFunc(Keys(), func(k Key) bool { return k.Name == name && k.BesideSpec })
}
