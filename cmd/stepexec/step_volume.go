package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// volume records docker's -v: a name in place of the host's path means a persistent volume, which
// is a cache here.
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
	cache := name + ":" + place
	if strings.Contains(","+modes+",", ",ro,") {
		cache += ":ro"
	}
	k.set("--volume", "cache", []string{cache})
	return nil
}

// mount records docker's --mount: type=volume with a name means the same as --volume NAME:PATH.
func (k *stepKeys) mount(value string) error {
	parts := strings.Split(value, ",")
	if !slices.Contains(parts, "type=volume") {
		k.set("--mount", "mounts", []string{value})
		return nil
	}
	var name, place, mode string
	for _, part := range parts {
		switch key, text, _ := strings.Cut(part, "="); key {
		case "source", "src":
			name = text
		case "destination", "dst", "target":
			place = text
		case "readonly", "ro":
			if text == "" || text == "true" || text == "1" {
				mode = ":ro"
			}
		case "type", "volume-nocopy", "consistency":
		default:
			return refusal{fmt.Sprintf("%s: not supported: of a volume there are source, destination and readonly", part)}
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
	return k.volume(name + ":" + place + mode)
}
