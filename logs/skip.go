package logs

// skipTable tells how far a search may jump while no pattern has begun (Wu and Manber, "A fast
// algorithm for multi-pattern searching", 1994, with blocks of two bytes).
//
// The measured reason: on log lines with 20 secrets the automaton alone runs at 185 MB/s and with
// this table at 2 GB/s (BenchmarkMask).
type skipTable struct {
	window int            // bytes looked at: the shortest pattern, at most maxWindow
	shift  [1 << 16]uint8 // by the window's last two bytes: how far no pattern can start
}

// maxWindow bounds the window: wider jumps further, but more pairs of bytes stop it.
const maxWindow = 16

func newSkipTable(patterns []string) skipTable {
	t := skipTable{window: maxWindow}
	for _, p := range patterns {
		t.window = min(t.window, len(p))
	}
	for i := range t.shift {
		t.shift[i] = uint8(t.window - 1)
	}
	for _, p := range patterns {
		for end := 2; end <= t.window; end++ {
			pair := pairOf(p[end-2], p[end-1])
			t.shift[pair] = min(t.shift[pair], uint8(t.window-end))
		}
	}
	return t
}

// next returns the first position from i on at which a pattern may start: all positions before it
// cannot. When too few bytes are left to tell, it returns the first such position.
func (t *skipTable) next(buf []byte, i int) int {
	for i+t.window <= len(buf) {
		last := i + t.window - 1
		shift := int(t.shift[pairOf(buf[last-1], buf[last])])
		if shift == 0 {
			return i
		}
		i += shift
	}
	return i
}

func pairOf(a, b byte) uint16 { return uint16(a)<<8 | uint16(b) }
