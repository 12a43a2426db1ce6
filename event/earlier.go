package event

import "time"

// Earlier is an earlier run of the same pipeline, which a run is compared with.
type Earlier struct {
	Summary
	Started time.Time
	Commit  string // full hash of what was built; "": not known, or files may differ from it, as in a run by hand
}

// TestedCommit returns the commit whose files a run has tested, or "". In a run by hand they may differ from those of
// the commit that is checked out.
func (b *Build) TestedCommit() string {
	if b == nil || b.Event == "" || b.Event == "manual" {
		return ""
	}
	return b.Commit
}
