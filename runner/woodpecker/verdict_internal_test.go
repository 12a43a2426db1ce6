package woodpecker

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Only Woodpecker's own sentences are final; a database in trouble uses the same words.
func TestLastWordsOfAServer(t *testing.T) {
	for text, final := range map[string]bool{
		"sql: no rows in result set": true,
		"could not find step with uuid x in store: sql: no rows in result set":                                            true,
		"agent is not allowed to interact with repo":                                                                      true,
		"agent '3' is not allowed to interact with repo[1] 'octo/app'":                                                    true,
		"agent is not allowed to interact with repo: agentId=3 repoID=1":                                                  true,
		"agent is not allowed to interact with workflow where it's id is not already locked: agentId=3 workflowAgentId=4": true,
		"agent reported an impossible workflow state, the agent is probably outdated and speaks an incompatible protocol": true,
		"can not alter logs: agent can not append logs to a step that is marked not running":                              true,
		"can not alter logs: database is already locked":                                                                  false,
		"workflow has parent pipeline marked as finished":                                                                 true,
		"workflow was already marked as finished":                                                                         true,
		"workflow is currently in blocked state":                                                                          true,
		"agent can not append logs to a step that is marked not running":                                                  true,
		`strconv.ParseInt: parsing "x": invalid syntax`:                                                                   true,
		"queue: task not found":                                            true,
		"dial tcp: lookup db.example.com: host not found":                  false,
		"pq: user is not allowed to connect":                               false,
		"database is already locked":                                       false,
		"illegal state: reconnecting":                                      false,
		"invalid connection":                                               false,
		`pq: prepared statement "1" already exists`:                        false,
		"runtime error: invalid memory address or nil pointer dereference": false,
		"write: the re-run of the migration is not finished":               false,
		"relation \"workflows\" was not found":                             false,
	} {
		if got := verdict(status.Error(codes.Unknown, text)) == refused; got != final {
			t.Errorf("%q is final: %t", text, got)
		}
	}
	if verdict(errors.New("x")) == refused {
		t.Error("an error without a code is final")
	}
}
