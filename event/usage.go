package event

// Usage is what all processes of a step used. It includes the runtime's own start, about
// 10 ms of CPU time. A value the kernel does not report is 0.
type Usage struct {
	User         Millis `json:"cpu_user_ms"`
	System       Millis `json:"cpu_system_ms"`
	Throttled    Millis `json:"cpu_throttled_ms,omitempty"` // time that threads waited at the step's limit of CPUs
	PeakMemory   int64  `json:"peak_memory_bytes"`
	BytesRead    int64  `json:"read_bytes"`              // from disks
	BytesWritten int64  `json:"written_bytes"`           // to disks
	PeakPids     int64  `json:"max_processes,omitempty"` // most processes and threads at once; needs Linux 6.6
	OOMKills     int64  `json:"oom_kills"`
}
