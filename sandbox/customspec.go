package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/stepexec/stepexec/sandbox/network"
)

// rawSpec returns the specification that the step brings along. Its root is the image's, and its
// cgroup is the step's unless it names one.
func (h *Host) rawSpec(step *Step, _, rootfs string, _ *network.Endpoint) (*specs.Spec, error) {
	spec, err := decodeSpec(step.Advanced.Spec)
	if err != nil {
		return nil, fmt.Errorf("OCI specification: %w", err)
	}
	if spec.Root == nil {
		spec.Root = &specs.Root{}
	}
	spec.Root.Path = rootfs
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	if spec.Linux.CgroupsPath == "" {
		spec.Linux.CgroupsPath, err = h.cgroupsPath(step)
	}
	return spec, err
}

// customize adds a step's labels and applies its JSON merge patch (RFC 7396).
func customize(spec *specs.Spec, step *Step) (*specs.Spec, error) {
	spec.Annotations = step.Advanced.Labels
	if step.Advanced.SpecPatch == nil {
		return spec, nil
	}
	generated, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode OCI spec: %w", err)
	}
	into, err := decodeJSON(generated)
	if err != nil {
		return nil, err
	}
	patch, err := decodeJSON(step.Advanced.SpecPatch)
	if err != nil {
		return nil, fmt.Errorf("spec_patch: %w", err)
	}
	data, err := json.Marshal(mergePatch(into, patch))
	if err != nil {
		return nil, fmt.Errorf("encode the patched OCI spec: %w", err)
	}
	patched, err := decodeSpec(data)
	if err != nil {
		return nil, fmt.Errorf("spec_patch: %w", err)
	}
	patched.Root.Path = spec.Root.Path
	return patched, nil
}

// decodeSpec rejects specifications that this package cannot run.
func decodeSpec(data []byte) (*specs.Spec, error) {
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, err
	}
	if spec.Process == nil || len(spec.Process.Args) == 0 {
		return nil, errors.New("process.args is missing: there is no command")
	}
	return &spec, nil
}

// decodeJSON keeps numbers as written: a float64 cannot hold 64-bit masks.
func decodeJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	err := decoder.Decode(&v)
	return v, err
}

func mergePatch(target, patch any) any {
	changes, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	object, isObject := target.(map[string]any)
	if !isObject {
		object = map[string]any{}
	}
	for key, change := range changes {
		if change == nil {
			delete(object, key)
		} else {
			object[key] = mergePatch(object[key], change)
		}
	}
	return object
}

// writePidFile writes the pid of the step's process to the file that the user asked for.
func writePidFile(step *Step, pid int) error {
	if step.Advanced.PidFile == "" {
		return nil
	}
	if err := step.at(step.Advanced.PidFile).WriteFile(fmt.Append(nil, pid), 0o644); err != nil {
		return fmt.Errorf("write the pid: %w", err)
	}
	return nil
}
