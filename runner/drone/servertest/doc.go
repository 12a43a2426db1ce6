// Package servertest is a Drone server for tests: it speaks the runners' protocol over HTTP as
// drone/drone 2 does, strictly. The real server cannot be had where tests run: it needs a
// git host, and its licence does not let it be carried along. What a runner does against the
// rules is an error of the test: a wrong order, another log after the end, steps created twice.
//
// What it answers was seen on these servers:
//
//   - 401 for a wrong or missing X-Drone-Token, with the text Unauthorized; 2.0.4.
//   - POST /stage: a stage, or 204 when a poll has waited in vain (30 s there); 2.0.4.
//   - POST /stage/{id}: the stage with the machine and the next version; 409 when somebody has it,
//     the same machine included; 2.0.4. Read there: it makes a cancelled stage that nobody had
//     accepted pending again.
//   - GET /stage/{id}: build, stage, repository, secrets, and the config as {"Data": base64}; 500
//     "sql: no rows in result set" for one that is not there; 2.0.4.
//   - PUT /stage/{id}: creates the steps while the stage is pending or running, and ends it
//     otherwise; 409 for an old version, as after a cancel; 2.0.4.
//   - PUT /step/{id}: 409 for an old version while the step runs, and 500 "1 error occurred: *
//     Optimistic Lock Error" at its end; version 2, whose number was not noted.
//   - POST /step/{id}/logs/batch: 500 "stream: not found" for a step that is not open; 2.0.4.
//   - POST /step/{id}/logs/upload: the log in the place of the one before, also after the end of the
//     step; 2.0.4.
//   - POST /build/{id}/watch: 200 at once when a build is over or cancelled, otherwise 204; 2.0.4.
//   - POST /step/{id}/card: from 2.7 on; 404 on 2.0.4.
//   - A cancel ends stage and steps on the server at once, steps with exit code 130; 2.0.4.
//   - A stage whose runner vanished stays running, and nobody else gets it; 2.0.4.
//
// Not seen on a server: how soon a stage is offered again that nobody has accepted ([Server.Fleet]
// has it so after 2 s).
//
// Stricter than any server: steps are created once, lines come in order, a log is uploaded before
// the end of its step, and after that only the same log again.
package servertest
