package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The table of all variables is what the code does with them. Write it anew with
// STEPEXEC_WRITE=1.
func TestTheTableOfVariablesIsTrue(t *testing.T) {
	e := &environ{}
	_ = e.droneOptions()
	_ = e.number(0, "DRONE_RUNNER_MAX_PROCS")
	if _, err := e.woodpeckerOptions(); err != nil {
		t.Fatal(err)
	}
	effects := map[string]string{}
	for name, same := range e.asked {
		if effects[name] = "as there"; same != name {
			effects[name] = fmt.Sprintf("the same as `%s`", same)
		}
	}
	for name, why := range meaningless() {
		if effects[name] != "" {
			t.Errorf("%s is looked at, and said to have no effect", name)
		}
		effects[name] = "no effect: " + why
	}
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(effects)) {
		fmt.Fprintf(&table, "| `%s` | %s |\n", name, effects[name])
	}
	const file, begin = "../../docs/runner-variables.md", "|---|---|\n"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, got, found := strings.Cut(string(doc), begin)
	if os.Getenv("STEPEXEC_WRITE") != "" {
		if err := os.WriteFile(file, []byte(head+begin+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !found || got != table.String() {
		t.Errorf("%s has another table than\n%s", file, table.String())
	}
}

// Variables of the settings of Drone's docker runner 1.8 and of Woodpecker's agents 2 and 3, with
// the older names that they still read. None of them is passed over without its name and a reason.
const peersVariables = `
DRONE_CPU_PERIOD DRONE_CPU_QUOTA DRONE_CPU_SET DRONE_CPU_SHARES DRONE_DEBUG DRONE_DEFER_TAIL_LOG DRONE_DOCKER_CONFIG
DRONE_DOCKER_STREAM_PULL DRONE_ENV_PLUGIN_ENDPOINT DRONE_ENV_PLUGIN_SKIP_VERIFY DRONE_ENV_PLUGIN_TOKEN DRONE_HTTP_ACME
DRONE_HTTP_BIND DRONE_HTTP_HOST DRONE_HTTP_PROTO DRONE_LIMIT_CPU_QUOTA DRONE_LIMIT_CPU_SET DRONE_LIMIT_CPU_SHARES
DRONE_LIMIT_EVENTS DRONE_LIMIT_MEM DRONE_LIMIT_MEM_SWAP DRONE_LIMIT_REPOS DRONE_LIMIT_TRUSTED DRONE_LOGS_DEBUG
DRONE_LOGS_TRACE DRONE_LOG_FILE DRONE_LOG_FILE_MAX_AGE DRONE_LOG_FILE_MAX_BACKUPS DRONE_LOG_FILE_MAX_SIZE DRONE_MACHINE
DRONE_MEMORY_LIMIT DRONE_MEMORY_SWAP_LIMIT DRONE_NETRC_CLONE_ONLY DRONE_PLATFORM_ARCH DRONE_PLATFORM_KERNEL
DRONE_PLATFORM_OS DRONE_PLATFORM_VARIANT DRONE_REGISTRY_ENDPOINT DRONE_REGISTRY_PLUGIN_ENDPOINT
DRONE_REGISTRY_PLUGIN_SECRET DRONE_REGISTRY_PLUGIN_SKIP_VERIFY DRONE_REGISTRY_PLUGIN_TOKEN DRONE_REGISTRY_SECRET
DRONE_REGISTRY_SKIP_VERIFY DRONE_RPC_DUMP_HTTP DRONE_RPC_DUMP_HTTP_BODY DRONE_RPC_HOST DRONE_RPC_PROTO DRONE_RPC_SECRET
DRONE_RPC_SKIP_VERIFY DRONE_RUNNER_ARCH DRONE_RUNNER_CAPACITY DRONE_RUNNER_CLONE_IMAGE DRONE_RUNNER_DEVICES
DRONE_RUNNER_ENVIRON DRONE_RUNNER_ENV_FILE DRONE_RUNNER_KERNEL DRONE_RUNNER_LABELS DRONE_RUNNER_MAX_PROCS
DRONE_RUNNER_NAME DRONE_RUNNER_NETWORKS DRONE_RUNNER_NETWORK_OPTS DRONE_RUNNER_OS DRONE_RUNNER_PRIVILEGED_IMAGES
DRONE_RUNNER_SECRETS DRONE_RUNNER_VARIANT DRONE_RUNNER_VOLUMES DRONE_SECRET_ENDPOINT DRONE_SECRET_PLUGIN_ENDPOINT
DRONE_SECRET_PLUGIN_SKIP_VERIFY DRONE_SECRET_PLUGIN_TOKEN DRONE_SECRET_SECRET DRONE_SECRET_SKIP_VERIFY DRONE_SERVER_ACME
DRONE_SERVER_HOST DRONE_SERVER_PORT DRONE_SERVER_PROTO DRONE_SHM_SIZE DRONE_TMATE_ENABLED DRONE_TMATE_FINGERPRINT_RSA
DRONE_TMATE_HOST DRONE_TMATE_IMAGE DRONE_TMATE_PORT DRONE_TRACE DRONE_UI_DISABLE DRONE_UI_PASSWORD DRONE_UI_REALM
DRONE_UI_USERNAME
WOODPECKER_AGENT_CONFIG_FILE WOODPECKER_AGENT_LABELS WOODPECKER_AGENT_SECRET WOODPECKER_AGENT_SECRET_FILE
WOODPECKER_AGENT_SINGLE_WORKFLOW WOODPECKER_BACKEND WOODPECKER_BACKEND_DOCKER_API_VERSION
WOODPECKER_BACKEND_DOCKER_CERT_PATH WOODPECKER_BACKEND_DOCKER_ENABLE_IPV6 WOODPECKER_BACKEND_DOCKER_HOST
WOODPECKER_BACKEND_DOCKER_LIMIT_CPU_QUOTA WOODPECKER_BACKEND_DOCKER_LIMIT_CPU_SET
WOODPECKER_BACKEND_DOCKER_LIMIT_CPU_SHARES WOODPECKER_BACKEND_DOCKER_LIMIT_MEM
WOODPECKER_BACKEND_DOCKER_LIMIT_MEM_SWAP WOODPECKER_BACKEND_DOCKER_LIMIT_SHM_SIZE WOODPECKER_BACKEND_DOCKER_NETWORK
WOODPECKER_BACKEND_DOCKER_TLS_VERIFY WOODPECKER_BACKEND_DOCKER_VOLUMES WOODPECKER_BACKEND_HTTPS_PROXY
WOODPECKER_BACKEND_HTTP_PROXY WOODPECKER_BACKEND_K8S_NAMESPACE WOODPECKER_BACKEND_K8S_VOLUME_SIZE
WOODPECKER_BACKEND_LOCAL_TEMP_DIR WOODPECKER_BACKEND_NO_PROXY WOODPECKER_CONNECT_RETRY_COUNT
WOODPECKER_CONNECT_RETRY_DELAY WOODPECKER_DEBUG_NOCOLOR WOODPECKER_DEBUG_PRETTY WOODPECKER_FILTER_LABELS
WOODPECKER_GRPC_SECURE WOODPECKER_GRPC_VERIFY WOODPECKER_HEALTHCHECK WOODPECKER_HEALTHCHECK_ADDR WOODPECKER_HOSTNAME
WOODPECKER_KEEPALIVE_TIME WOODPECKER_KEEPALIVE_TIMEOUT WOODPECKER_LIMIT_CPU_QUOTA WOODPECKER_LIMIT_CPU_SET
WOODPECKER_LIMIT_CPU_SHARES WOODPECKER_LIMIT_MEM WOODPECKER_LIMIT_MEM_SWAP WOODPECKER_LIMIT_SHM_SIZE WOODPECKER_LOG_FILE
WOODPECKER_LOG_LEVEL WOODPECKER_MAX_PROCS WOODPECKER_MAX_WORKFLOWS WOODPECKER_SERVER`

func TestEveryVariableOfThePeersIsHonouredOrHasAReason(t *testing.T) {
	e := &environ{}
	_ = e.droneOptions()
	_ = e.number(0, "DRONE_RUNNER_MAX_PROCS")
	if _, err := e.woodpeckerOptions(); err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(peersVariables) {
		if e.asked[name] == "" && whyMeaningless(name) == "" {
			t.Errorf("%s is neither honoured nor said to have no effect", name)
		}
	}
}

func TestOlderNamesOfDronesVariablesCount(t *testing.T) {
	for name, value := range map[string]string{
		"DRONE_LIMIT_MEM": "1048576", "DRONE_LIMIT_CPU_SET": "0", "DRONE_RUNNER_ARCH": "arm64", "DRONE_SERVER_PORT": ":3001",
		"DRONE_SECRET_ENDPOINT": "http://vault.example.com", "DRONE_SECRET_SECRET": "s3cret", "DRONE_SECRET_SKIP_VERIFY": "true",
	} {
		t.Setenv(name, value)
	}
	e := &environ{}
	o := e.droneOptions()
	if err := e.err(); err != nil {
		t.Fatal(err)
	}
	if o.Limits.Memory != 1<<20 || o.Limits.CpusetCPUs != "0" || o.Arch != "arm64" || o.HealthAddress != ":3001" {
		t.Errorf("%+v", o)
	}
	if p := o.SecretPlugin; p.Endpoint != "http://vault.example.com" || p.Secret != "s3cret" || p.TLS == nil {
		t.Errorf("%+v", p)
	}
	t.Setenv("DRONE_MEMORY_LIMIT", "2097152")
	if o := (&environ{}).droneOptions(); o.Limits.Memory != 2<<20 {
		t.Errorf("limit of %d bytes", o.Limits.Memory)
	}
}

func TestVariablesWithoutEffectAreTold(t *testing.T) {
	t.Setenv("WOODPECKER_LIMIT_MEM", "1048576")
	t.Setenv("WOODPECKER_AGENT_SECRET_FILE", "")
	t.Setenv("WOODPECKER_AGENT_SECRET", "s")
	t.Setenv("WOODPECKER_AGENT_CONFIG_FILE", "")
	t.Setenv("WOODPECKER_HEALTHCHECK", "true")
	t.Setenv("WOODPECKER_GRPC_SKIP_VERIFY", "true")
	t.Setenv("WOODPECKER_BACKEND_K8S_NAMESPACE", "ci")
	t.Setenv("WOODPECKER_LIMIT_MEMORY", "1") // a slip
	e := &environ{}
	o, err := e.woodpeckerOptions()
	if err != nil || o.Defaults.Limits.Memory != 1<<20 {
		t.Errorf("%v, limit of %d bytes", err, o.Defaults.Limits.Memory)
	}
	want := []string{"WOODPECKER_BACKEND_K8S_NAMESPACE", "WOODPECKER_LIMIT_MEMORY"}
	if got := e.unused("WOODPECKER_"); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
