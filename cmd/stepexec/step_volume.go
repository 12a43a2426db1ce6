package main

import (
	"cmp"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// volume notes docker's -v: a name in place of the host's path is a volume that stays, which is a
// cache here.
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
