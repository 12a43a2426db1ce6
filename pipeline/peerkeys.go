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
	case "run", "script", "command", "cmd", "before_script", "bash":
		return []string{"commands"}
	case "needs", "dependencies", "requires", "dependsOn":
		return []string{"depends_on"}
	case "working-directory", "working_directory", "workingDirectory", "working_dir", "workdir", "cwd":
		return []string{"directory"}
	case "if", "only", "except", "rules", "filters", "condition":
		return []string{"when"}
	case "timeout-minutes", "timeoutInMinutes", "max-time":
		return []string{"timeout"}
	case "continue-on-error", "continueOnError", "allow_failure", "ignore_failure":
		return []string{"failure"}
	case "retries", "retryCountOnTaskFailure":
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
	case "mounts", "binds", "volume":
		return []string{"volumes", "mounts"}
	case "mem_limit", "memory_limit", "mem":
		return []string{"memory"}
	case "cpu_limit", "cpu_count":
		return []string{"cpus"}
	case "healthcheck", "health_check", "wait_for":
		return []string{"ready"}
	case "with", "inputs", "params", "plugin_settings":
		return []string{"settings"}
	case "cap-add", "capabilities":
		return []string{"cap_add"}
	case "trigger", "on":
		return []string{"when"}
	case "save_cache", "restore_cache", "caches":
		return []string{"cache"}
	case "store_artifacts", "artifact":
		return []string{"artifacts"}
	case "store_test_results", "junit", "test_reports":
		return []string{"reports"}
	}
	return nil
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
	return didYouMean(name, known)
}
