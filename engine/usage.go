package engine

import "github.com/stepexec/stepexec/sandbox"

// Usage is what a step has used: all of its processes, with the runtime's own
// start of some 10 ms. 0 is also what the kernel does not tell.
type Usage struct {
	User         Millis `json:"cpu_user_ms"`
	System       Millis `json:"cpu_system_ms"`
	Throttled    Millis `json:"cpu_throttled_ms,omitempty"` // threads waited for so long at the limit of CPUs
	PeakMemory   int64  `json:"peak_memory_bytes"`
	BytesRead    int64  `json:"read_bytes"` // from disks
	BytesWritten int64  `json:"written_bytes"`
	PeakPids     int64  `json:"max_processes,omitempty"` // and threads; Linux 6.6 and newer
	OOMKills     int64  `json:"oom_kills"`
}

func usageOf(u sandbox.Usage) *Usage {
	return &Usage{
		User: Millis(u.User), System: Millis(u.System), Throttled: Millis(u.Throttled),
		PeakMemory: u.PeakMemory, BytesRead: u.BytesRead, BytesWritten: u.BytesWritten,
		PeakPids: u.PeakPids, OOMKills: u.OOMKills,
	}
}
