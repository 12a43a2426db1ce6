package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// volume records docker's -v: a name in place of the host's path means a persistent volume, which
// is a cache here. The image fills it at its first use unless nocopy is given.
func (k *stepKeys) volume(value string) error {
	name, place, _ := strings.Cut(value, ":")
	if !pipeline.IsVolumeName(name) || !strings.HasPrefix(place, "/") {
		k.set("--volume", "volumes", []string{value})
		return nil
	}
	place, modes, _ := strings.Cut(place, ":")
	if _, err := pipeline.ParseVolume("/x:" + place + ":" + cmp.Or(modes, "rw")); err != nil {
		return err
	}
	var options []string
	if hasMode(modes, "ro") {
		options = append(options, "ro")
	}
	if !hasMode(modes, "nocopy") {
		options = append(options, "fill")
	}
	cache := name + ":" + place
	if len(options) > 0 {
		cache += ":" + strings.Join(options, ",")
	}
	k.set("--volume", "cache", []string{cache})
	return nil
}

func hasMode(modes, mode string) bool { return slices.Contains(strings.Split(modes, ","), mode) }

// mount records docker's --mount: type=volume with a name means the same as --volume NAME:PATH.
func (k *stepKeys) mount(value string) error {
	parts := strings.Split(value, ",")
	if !slices.Contains(parts, "type=volume") {
		k.set("--mount", "mounts", []string{value})
		return nil
	}
	var name, place string
	var modes []string
	for _, part := range parts {
		switch key, text, _ := strings.Cut(part, "="); key {
		case "source", "src":
			name = text
		case "destination", "dst", "target":
			place = text
		case "readonly", "ro":
			modes = appendIf(modes, "ro", text)
		case "volume-nocopy":
			modes = appendIf(modes, "nocopy", text)
		case "type", "consistency":
		default:
			return refusal{fmt.Sprintf("%s: not supported: a volume takes source, destination and readonly", part)}
		}
	}
	switch {
	case !strings.HasPrefix(place, "/"):
		return refusal{fmt.Sprintf("%s: the volume has no absolute destination (write type=volume,src=NAME,dst=/path)", value)}
	case name == "":
		return k.volume(place)
	case !pipeline.IsVolumeName(name):
		return refusal{fmt.Sprintf("%s: %q is not the name of a volume (a path of the host is type=bind)", value, name)}
	}
	return k.volume(strings.TrimSuffix(name+":"+place+":"+strings.Join(modes, ","), ":"))
}

// appendIf appends a mode that a switch without a value, or with a true one, asks for.
func appendIf(modes []string, mode, value string) []string {
	if value == "" || value == "true" || value == "1" {
		modes = append(modes, mode)
	}
	return modes
}
