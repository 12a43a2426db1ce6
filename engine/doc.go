// Package engine runs a plan: it fetches the images, starts every step as soon as the
// steps it depends on are over, passes on what the steps print, and reports how
// everything ended. It reports in events (package event), which go one way: to whoever
// listens.
//
// It does not read pipeline files (package pipeline), does not decide what a container is
// made of (package sandbox), and shows nothing (package report).
//
// # Phases
//
// Every step and service of a run is a node, with a goroutine of its own. A node is in
// one of these phases, and life.move is the only function that changes it:
//
//	              ┌──────────────────┐            ┌───────────────────┐
//	              │                  ▼            │                   ▼
//	pending ──▶ ahead ──▶ starting ──▶ running ──▶ settled ──▶ ended
//	   │                   ▲  ▲   │        │  │                   ▲
//	   └───────────────────┘  └───┼────────┘  └───────────────────┤
//	                        retry └───────────────────────────────┘
//
//	pending   waits for the nodes before it; nothing of it exists
//	ahead     is prepared before its turn, or has nothing to prepare before its turn;
//	          the nodes after it may be prepared as well
//	starting  its turn has come: its container is created, unless it was ahead, and started
//	running   its command runs, or an attempt at it
//	settled   a service or detached step that is ready, or will not be in time: the nodes
//	          that need it go on
//	ended     its result is final
//
// From every phase a node can end: a step may be skipped, fail to start, or meet a bug.
package engine
