// Package servertest is a Woodpecker server for tests of the agent. It speaks the protocol
// over real connections, holds the agent to it more strictly than Woodpecker does, and
// fails on request.
//
// It stands in for Woodpecker's own server, which cannot be had in tests: it needs a forge
// with repositories and webhooks behind it, and its module is not to be had by Go's proxy.
//
// What it answers was seen on these servers, or read in their source where "read" stands:
//
//   - Protocol 16, all methods, the order of calls and long polls: main of August 2026 (after
//     3.17.0).
//   - Calls about a workflow that another agent has: "agent is not allowed to interact with workflow
//     where it's id is not already locked: agentId=… workflowAgentId=…"; read, 3.16
//     to main of August 2026. Servers up to 3.15 have only "… is not allowed to interact with repo".
//   - Init with an impossible state: "agent reported an impossible workflow state, …"; read, main
//     of August 2026. 3.17.0 does not have it.
//   - Done of a workflow that has ended: "workflow was already marked as finished"; read, 3.14.1 to
//     main of August 2026.
//   - ReportHealth with another word: "Are you alive?"; read, 3.0.0 to main of August 2026.
//   - Labels of the workflow in each step, of which only the server sets those below
//     woodpecker-ci.org: read, since 3.5, event and commit-branch since 3.17. A test sets them itself.
//   - Auth with a number that has no agent, and every other call of an agent that was deleted:
//     Unknown, "sql: no rows in result set"; main of August 2026. Older servers said
//     "AgentID not found in database".
//   - Auth with a secret that is neither the server's nor an agent's token: Unknown, "agent could not
//     auth: individual agent not found by token: sql: no rows in result set"; read, main of 2025.
//   - A token stays valid after its agent was deleted: main of August 2026.
//   - A workflow whose agent vanished stays running; nobody else gets it: main of August 2026.
//   - A failed step is enough for a failed workflow; WorkflowState.Error is for what is no
//     step's: main of August 2026.
//   - GOAWAY before a graceful stop, which waits for the calls that it has: main of August
//     2026.
//
// Stricter than any server: the number of a line follows that before it, an end comes once,
// and nothing comes after it.
package servertest
