package provenance

import (
	"time"
)

// The types that a statement has (in-toto attestation framework, "Statement" v1; SLSA, "Build:
// Provenance" v1), and the type of a DSSE envelope's payload that holds one.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	PayloadType   = "application/vnd.in-toto+json"
)

// BuildType says what the parameters of a build by stepexec mean: what [Parameters] says.
const BuildType = "https://github.com/stepexec/stepexec/blob/main/docs/provenance.md#v1"

// BuilderID is the builder of whoever names none.
const BuilderID = "https://github.com/stepexec/stepexec"

// WorkTree names the annotation of the source that says whether the files were those of the commit
// when the build began: clean, changed, or other, if another commit was checked out. Without it, that
// is not known.
const WorkTree = "workTree"

// Statement says how its subjects were made.
type Statement struct {
	Type          string       `json:"_type"`
	Subject       []Descriptor `json:"subject"`
	PredicateType string       `json:"predicateType"`
	Predicate     Predicate    `json:"predicate"`
}

// Descriptor is a file or another thing (in-toto, "ResourceDescriptor").
type Descriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"` // by algorithm, such as sha256
	MediaType   string            `json:"mediaType,omitempty"`
	Content     []byte            `json:"content,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Predicate is SLSA's provenance, version 1.
type Predicate struct {
	Definition Definition `json:"buildDefinition"`
	Details    Details    `json:"runDetails"`
}

// Definition is what was to be built, and from what.
type Definition struct {
	BuildType    string       `json:"buildType"`
	External     Parameters   `json:"externalParameters"`
	Internal     Internal     `json:"internalParameters"`
	Dependencies []Descriptor `json:"resolvedDependencies,omitempty"`
}

// Parameters are what whoever started the build has chosen. No secret is among them.
type Parameters struct {
	File        string   `json:"file"`               // of the pipeline, as it was named
	Pipeline    string   `json:"pipeline,omitempty"` // its name
	Cell        string   `json:"cell,omitempty"`     // of its matrix, or its name among several
	Source      *Source  `json:"source,omitempty"`   // nil: not known
	Only        []string `json:"only,omitempty"`     // steps that were to run; empty: all
	Skip        []string `json:"skip,omitempty"`     // steps that were left out
	Environment []string `json:"environment,omitempty"`
}

// Source is what was built, as the builder was told or git said.
type Source struct {
	Repository string `json:"repository,omitempty"`
	Event      string `json:"event,omitempty"`
	Ref        string `json:"ref,omitempty"`
	Commit     string `json:"commit,omitempty"`
}

// Internal are the builder's own parameters.
type Internal struct {
	Policy   string `json:"policy,omitempty"`   // file of the policy that admitted the build; "": none
	Locked   bool   `json:"locked,omitempty"`   // every image was in the lock file
	Platform string `json:"platform,omitempty"` // that was asked for; "": the machine's
}

// Details say how the build went.
type Details struct {
	Builder    Builder      `json:"builder"`
	Metadata   Metadata     `json:"metadata"`
	Byproducts []Descriptor `json:"byproducts,omitempty"`
}

// Builder is who built.
type Builder struct {
	ID      string            `json:"id"` // URI
	Version map[string]string `json:"version,omitempty"`
}

// Metadata say which build it was.
type Metadata struct {
	Invocation string    `json:"invocationId"` // ID of the run
	Started    time.Time `json:"startedOn,omitzero"`
	Finished   time.Time `json:"finishedOn,omitzero"`
}
