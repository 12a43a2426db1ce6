package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// unused returns the variables with the prefix that are set but have not been read.
func (e *environ) unused(prefix string) []string {
	var names []string
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, prefix) && value != "" && e.asked[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// warnUnused says which settings of the server's own runner have no effect here, because an
// administrator would rely on them.
func (e *environ) warnUnused(say func(string), prefix, doc string) {
	for _, name := range e.unused(prefix) {
		if why := whyMeaningless(name); why != "" {
			say(fmt.Sprintf("warning: $%s has no effect with stepexec: %s", name, why))
			continue
		}
		say(fmt.Sprintf("warning: $%s has no effect with stepexec (%s has the variables that it knows)", name, doc))
	}
}

// whyMeaningless is the reason that a variable has no effect; "": no runner is known to have it.
func whyMeaningless(name string) string {
	for known, why := range meaningless() {
		if family, isFamily := strings.CutSuffix(known, "*"); known == name || isFamily && strings.HasPrefix(name, family) {
			return why
		}
	}
	return ""
}

// meaningless maps variables of the servers' own runners without a counterpart here to the reason;
// a name that ends in * stands for all that begin so. The table in docs/runner-variables.md lists
// them, too.
func meaningless() map[string]string {
	const (
		docker = "there is no docker"
		logs   = "what the runner says is on stderr, each line with its time"
		other  = "the backend is stepexec's own"
		plain  = "health checks are plain HTTP"
		page   = "there is no page of the runner"
		retry  = "WOODPECKER_RETRY_TIMEOUT says how long the agent tries"
		secret = "calls are not logged, because they have secrets in them"
	)
	return map[string]string{
		"WOODPECKER_LOG_LEVEL": logs, "WOODPECKER_LOG_FILE": logs, "WOODPECKER_DEBUG_PRETTY": logs, "WOODPECKER_DEBUG_NOCOLOR": logs,
		"WOODPECKER_BACKEND":                    other,
		"WOODPECKER_BACKEND_ENGINE":             other,
		"WOODPECKER_BACKEND_HTTP_PROXY":         "proxies of steps are variables of the pipeline or of the server",
		"WOODPECKER_BACKEND_HTTPS_PROXY":        "proxies of steps are variables of the pipeline or of the server",
		"WOODPECKER_BACKEND_NO_PROXY":           "proxies of steps are variables of the pipeline or of the server",
		"WOODPECKER_BACKEND_DOCKER_HOST":        docker,
		"WOODPECKER_BACKEND_DOCKER_TLS_VERIFY":  docker,
		"WOODPECKER_BACKEND_DOCKER_CERT_PATH":   docker,
		"WOODPECKER_BACKEND_DOCKER_API_VERSION": docker,
		"WOODPECKER_BACKEND_DOCKER_ENABLE_IPV6": "private networks have IPv6 anyway",
		"WOODPECKER_BACKEND_DOCKER_NETWORK":     docker + " whose networks a step could join",
		"WOODPECKER_BACKEND_K8S_*":              other,
		"WOODPECKER_BACKEND_LOCAL_*":            other,
		"WOODPECKER_CONNECT_RETRY_COUNT":        retry,
		"WOODPECKER_CONNECT_RETRY_DELAY":        retry,
		"WOODPECKER_GRPC_VERIFY":                "certificates are verified unless WOODPECKER_GRPC_SKIP_VERIFY is true",
		"WOODPECKER_DEBUG":                      logs,
		"DRONE_DEBUG":                           logs,
		"DRONE_TRACE":                           logs,
		"DRONE_LOG_FILE":                        logs,
		"DRONE_RUNNER_NETWORKS":                 docker + " whose networks a step could join",
		"DRONE_RUNNER_NETWORK_OPTS":             docker + " whose networks have options",
		"DRONE_DOCKER_STREAM_PULL":              docker,
		"DRONE_DEFER_TAIL_LOG":                  "logs are complete anyway",
		"DRONE_HTTP_HOST":                       "health checks have no host of their own",
		"DRONE_HTTP_PROTO":                      plain,
		"DRONE_HTTP_ACME":                       plain,
		"DRONE_SERVER_HOST":                     "health checks have no host of their own",
		"DRONE_SERVER_PROTO":                    plain,
		"DRONE_SERVER_ACME":                     plain,
		"DRONE_LOGS_DEBUG":                      logs,
		"DRONE_LOGS_TRACE":                      logs,
		"DRONE_LOG_FILE_*":                      logs,
		"DRONE_RPC_DUMP_HTTP":                   secret,
		"DRONE_RPC_DUMP_HTTP_BODY":              secret,
		"DRONE_TMATE_*":                         "there are no sessions of tmate",
		"DRONE_UI_DISABLE":                      page,
		"DRONE_UI_USERNAME":                     page,
		"DRONE_UI_REALM":                        page,
		"DRONE_UI_PASSWORD":                     page,
	}
}
