package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// kin is the information that /proc has about a process (proc_pid_stat(5)).
type kin struct {
	parent, group, session int
	started                uint64 // clock ticks since boot
}

// kinOf reads the information about a process; false means that it has ended.
func kinOf(pid int) (kin, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return kin{}, false
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:]) // the name may contain spaces
	if len(fields) < 20 {
		return kin{}, false
	}
	var k kin
	k.parent, _ = strconv.Atoi(string(fields[1]))
	k.group, _ = strconv.Atoi(string(fields[2]))
	k.session, _ = strconv.Atoi(string(fields[3]))
	k.started, _ = strconv.ParseUint(string(fields[19]), 10, 64)
	return k, true
}

// family finds the processes that a program executed in a sandbox has started, including those in
// their own sessions and those whose parents have ended.
type family struct {
	box    *Sandbox
	leader int    // the program
	group  int    // its process group and session: see groupOf
	since  uint64 // its start time
}

func (s *Sandbox) familyOf(leader int) family {
	k, _ := kinOf(leader) // if the leader has ended, no process can be found by its start time
	return family{box: s, leader: leader, group: groupOf(leader), since: k.started}
}

// groupOf returns the number of the process group and of the session that a program executed in a
// sandbox runs in. Nobody may have waited for the program before. runc makes the program itself the
// leader of both. With crun, its own process leads both, starts the program, and ends.
func groupOf(program int) int {
	k, ok := kinOf(program)
	ours, err := unix.Getsid(0)
	if !ok || err != nil || k.group <= 1 || k.group != k.session || k.session == ours {
		return program // a signal to another group could reach processes outside the sandbox
	}
	return k.group
}

// members returns the living processes of the family except the leader. A process whose parents
// have ended belongs to the family if it was started after the leader and is not in the session of
// the sandbox's own command, which may start workers at any time. Without withGroup, it leaves out
// the leader's process group.
func (f *family) members(withGroup bool) ([]int, error) {
	pids, err := f.box.pids()
	if err != nil {
		return nil, err
	}
	init := f.box.init.Pid
	all := map[int]kin{}
	for pid := range pids {
		if k, ok := kinOf(pid); ok {
			all[pid] = k
		}
	}
	own := all[init].session
	belongs := func(pid int) bool {
		for range len(all) { // parents form no cycle, but readings of two moments may
			k, known := all[pid]
			switch {
			case pid == f.leader || known && k.session == f.group:
				return true
			case !known || pid == init:
				return false
			case k.parent == init || k.parent == 0 || k.parent == 1:
				return f.since > 0 && k.started >= f.since && k.session != own
			}
			pid = k.parent
		}
		return false
	}
	var members []int
	for pid := range all {
		isLeft := !withGroup && all[pid].group == f.group
		if pid != f.leader && pid != init && !isLeft && belongs(pid) {
			members = append(members, pid)
		}
	}
	return members, nil
}

// mostRounds bounds how often kill looks for processes started in the meantime.
const mostRounds = 5

// stop asks the members to end, except for those of the leader's process group, which are asked with
// the leader: many programs take a second signal for an order to end at once.
func (f *family) stop() error {
	_, err := f.signal(unix.SIGTERM, false)
	return err
}

func (f *family) signal(sig unix.Signal, withGroup bool) (found bool, err error) {
	members, err := f.members(withGroup)
	if err != nil || len(members) == 0 {
		return false, err
	}
	held, err := f.box.signalSome(members, sig)
	closeFDs(held)
	return true, err
}

// kill kills the members, and those that they start in the meantime.
func (f *family) kill() error {
	for range mostRounds {
		if found, err := f.signal(unix.SIGKILL, true); err != nil || !found {
			return err
		}
	}
	return nil
}
