// Package settings reads stepexec's settings file: one YAML file that says, for a machine or a user, how registries
// are reached, how large the store may get and what a layer may cost. docs/settings.md describes it.
//
// What belongs to one pipeline is in the pipeline's file, and what belongs to one call is a flag, which the command
// line puts over the settings.
package settings
