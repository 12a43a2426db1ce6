// Package ui serves pages about the runs of a state root to one person, in a browser on the same machine:
// the runs, live ones among them, each with its timeline and logs; the last runs of each pipeline; the store
// of images and the caches with their sizes.
//
// It changes nothing, except that it stops runs where it may. It masks nothing: secrets are masked before
// an event is in a record. Names and output of steps are a stranger's: they are text on every page.
package ui
