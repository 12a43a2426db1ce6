package sandbox

import "testing"

func TestSettingsThatTheKernelRefusesAreNamed(t *testing.T) {
	const init = "create container: unable to start container process: error during container init: "
	asked := map[string]string{"net.ipv4.nosuch": "1", "net.core.rmem_max": "10", "kernel.sem": "abc"}
	for message, want := range map[string][2]string{
		init + "open /proc/sys/net/ipv4/nosuch: no such file or directory": {"net.ipv4.nosuch", "this kernel has no such setting in a step's own namespaces"},
		init + "open /proc/sys/net/core/rmem_max: permission denied":       {"net.core.rmem_max", "this kernel does not allow a step to set it"},
		init + "write /proc/sys/kernel/sem: invalid argument":              {"kernel.sem", `the kernel refuses the value "abc"`},
		init + "write /proc/sys/kernel/sem: device busy":                   {"kernel.sem", "device busy"},
		init + "open /proc/sys/net/ipv4/other: no such file or directory":  {}, // the step has not asked for it
		init + "open /dev/null: permission denied":                         {},
	} {
		if name, why := sysctlFailure(message, asked); name != want[0] || why != want[1] {
			t.Errorf("%s: got %q, %q, want %q", message, name, why, want)
		}
	}
}
