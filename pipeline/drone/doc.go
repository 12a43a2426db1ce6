// Package drone turns a .drone.yml into the pipelines of package pipeline: what a Drone
// runner for docker makes of it, with the differences that docs/compat-drone.md lists.
//
// Parse does it for one build: text is substituted and triggers are decided with what the
// build is. It runs nothing, and clones nothing: the clone is a step like others.
package drone
