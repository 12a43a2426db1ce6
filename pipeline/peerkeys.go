package pipeline

import (
	"fmt"
	"slices"
)

// peerKeys are keys of other CI systems' files, each with the native keys that may be meant, the likeliest first.
func peerKeys(name string) []string {
	switch name {
	case "env", "variables", "environment_variables":
		return []string{"environment"}
	case "run", "script", "command", "cmd", "before_script", "bash", "sh", "pwsh":
		return []string{"commands"}
	case "needs", "dependencies", "requires", "dependsOn", "runAfter", "after":
		return []string{"depends_on"}
	case "working-directory", "working_directory", "workingDirectory", "working_dir", "workdir", "workingDir", "cwd":
		return []string{"directory"}
	case "if", "unless", "branches", "only", "except", "rules", "filters", "condition":
		return []string{"when"}
	case "timeout-minutes", "timeoutInMinutes", "timeout_in_minutes", "timeout_minutes", "max-time":
		return []string{"timeout"}
	case "on_failure", "onError", "fail_fast":
		return []string{"failure"}
	case "retries", "max_retries", "retryCountOnTaskFailure", "attempts":
		return []string{"retry"}
	case "strategy", "parallel":
		return []string{"matrix"}
	case "container", "uses", "docker", "plugin":
		return []string{"image"}
	case "jobs", "stages", "stage", "tasks":
		return []string{"steps"}
	case "network_mode":
		return []string{"network"}
	case "displayName", "title", "label", "id":
		return []string{"name"}
	case "mounts", "binds", "volume", "volumeMounts", "volumes_from":
		return []string{"volumes", "mounts"}
	case "mem_limit", "memory_limit", "mem":
		return []string{"memory"}
	case "cpu_limit", "cpu_count":
		return []string{"cpus"}
	case "healthcheck", "health_check", "health_cmd", "readinessProbe", "wait_for":
		return []string{"ready"}
	case "with", "inputs", "params", "plugin_settings":
		return []string{"settings"}
	case "pull_policy", "imagePullPolicy", "pullPolicy":
		return []string{"pull"}
	case "security_opt", "securityContext", "security-opt":
		return []string{"seccomp"}
	case "env-file", "envFrom", "env_files":
		return []string{"env_file"}
	case "cap-add", "capabilities":
		return []string{"cap_add"}
	case "trigger", "on":
		return []string{"when"}
	case "save_cache", "restore_cache", "caches":
		return []string{"cache"}
	case "store_artifacts", "artifact", "artifact_paths", "outputs":
		return []string{"artifacts"}
	case "store_test_results", "junit", "test_reports":
		return []string{"reports"}
	}
	return nil
}

// peerAdvice says what to do instead of a key of other CI systems that has no native key of the same meaning. For
// every other key it returns "".
func peerAdvice(name string) string {
	switch name {
	case "continue-on-error", "continue_on_error", "continueOnError", "allow_failure", "ignore_failure", "ignore_errors", "soft_fail":
		return "write failure: ignore"
	case "after_script", "afterScript", "after-script", "post", "finally":
		return "add a step with when: {status: always}"
	case "services", "sidecars":
		return "services stand beside steps, at the top of the file"
	case "runs-on", "runs_on", "agents", "agent", "tags", "pool", "executor", "machine", "vmImage":
		return "all steps run on this machine; remove it"
	case "expose", "links":
		return "steps and services reach each other without it; remove it"
	case "restart", "stdin_open", "concurrency", "interruptible", "parallelism":
		return "there is nothing of the kind here; remove it"
	case "extends", "include_template", "uses_template":
		return "use an anchor: <<: *NAME"
	case "matrix":
		return "a matrix stands at the top of the file"
	case "resources":
		return "write memory and cpus"
	case "clone", "checkout":
		return "steps get the files that are in the working directory; remove it"
	}
	return ""
}

// hintOfWord names the word that is meant by one that does not exist here.
func hintOfWord(word string, known []string) string {
	if word == "bridge" && slices.Contains(known, "private") {
		return "docker's bridge is called private here"
	}
	return didYouMean(word, known)
}

// hintOf names the key that is meant by one that does not exist here.
func hintOf(name string, known []string) string {
	for _, native := range peerKeys(name) {
		if slices.Contains(known, native) {
			return fmt.Sprintf("the key is called %q here", native)
		}
	}
	if advice := peerAdvice(name); advice != "" {
		return advice
	}
	return didYouMean(name, known)
}
