package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/settings"
	"github.com/stepexec/stepexec/unpack"
)

// settingsFlags names the settings file, and has the flags that override it.
type settingsFlags struct {
	file        string
	mirrors     []string
	storeLimit  string
	layerFormat string

	runtimeCalls bool
}

func (f *settingsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "settings", "", "settings `FILE` for registries, the store and its limit (default: $"+settings.Variable+", or the user's or machine's file)")
}

// addRegistries adds the flags of commands that contact registries.
func (f *settingsFlags) addRegistries(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.mirrors, "registry-mirror", nil, "try a mirror before the registry: `HOST=MIRROR`, or MIRROR alone for docker.io (may be repeated)")
}

// addStore adds the flags of commands that unpack layers.
func (f *settingsFlags) addStore(flags *pflag.FlagSet) {
	flags.StringVar(&f.storeLimit, "store-limit", "", "after unpacking, remove images until the store takes up no more than `SIZE`, such as 20GB; none means no limit")
	flags.StringVar(&f.layerFormat, "layer-format", "", "`format` in which new layers are stored: auto, directories or erofs")
}

// addRuntimeCalls adds the flag of commands that run containers.
func (f *settingsFlags) addRuntimeCalls(flags *pflag.FlagSet) {
	flags.BoolVar(&f.runtimeCalls, "runtime-calls", false, "let the runtime start and delete every container, even where stepexec can do so itself; slower")
}

// load returns the settings of the file, overridden by the flags.
func (f *settingsFlags) load() (settings.Settings, error) {
	s, err := settings.Load(f.file)
	if err != nil {
		return s, err
	}
	if len(f.mirrors) > 0 {
		if s.Registries, err = s.Registries.WithMirrors(f.mirrors); err != nil {
			return s, fmt.Errorf("--registry-mirror: %w", err)
		}
	}
	if f.storeLimit != "" {
		if s.StoreLimit, err = settings.ParseStoreLimit(f.storeLimit); err != nil {
			return s, fmt.Errorf("--store-limit: %w", err)
		}
	}
	if f.layerFormat != "" {
		if s.LayerFormat, err = unpack.ParseFormat(f.layerFormat); err != nil {
			return s, fmt.Errorf("--layer-format: %w", err)
		}
	}
	s.RuntimeCalls = s.RuntimeCalls || f.runtimeCalls
	return s, nil
}
