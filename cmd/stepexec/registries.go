package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pull"
)

// registryFlags say how registries are reached.
type registryFlags struct {
	file    string
	mirrors []string
}

func (r *registryFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&r.file, "registries", "", "`FILE` of settings for each registry: mirrors, certificates, plain HTTP")
	flags.StringArrayVar(&r.mirrors, "registry-mirror", nil, "try `HOST=MIRROR` before a registry, or MIRROR alone before docker.io; may be repeated")
}

// options are the settings of the file, with the mirrors in front.
func (r *registryFlags) options() (pull.Options, error) {
	var settings *pull.Registries
	if r.file != "" {
		data, err := os.ReadFile(r.file)
		if err != nil {
			return pull.Options{}, fmt.Errorf("--registries: %w", err)
		}
		if settings, err = pull.ParseRegistries(r.file, data); err != nil {
			return pull.Options{}, err
		}
	}
	if len(r.mirrors) == 0 {
		return pull.Options{Registries: settings}, nil
	}
	settings, err := settings.WithMirrors(r.mirrors)
	if err != nil {
		return pull.Options{}, fmt.Errorf("--registry-mirror: %w", err)
	}
	return pull.Options{Registries: settings}, nil
}
