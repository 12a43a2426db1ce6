package sandbox

import (
	"slices"
	"strconv"
	"strings"
)

// withSafeDirectory lets git work in folders of any owner: a workspace often belongs to the user
// who checked it out, while the step runs as root, and git would refuse it as dubious. The setting
// follows those that the environment already has (git-config(1), GIT_CONFIG_COUNT). Its value is
// not the workspace's path, because git before version 2.46 had no pattern for the submodules in
// it. If the count is not a number, the environment stays as it is, and git reports that.
func withSafeDirectory(env []string) []string {
	const name, value = "safe.directory", "*"
	get := func(name string) string {
		for _, variable := range slices.Backward(env) {
			if value, found := strings.CutPrefix(variable, name+"="); found {
				return value
			}
		}
		return ""
	}
	count := 0
	if given := get("GIT_CONFIG_COUNT"); given != "" {
		var err error
		if count, err = strconv.Atoi(given); err != nil || count < 0 {
			return env
		}
	}
	if last := strconv.Itoa(count - 1); count > 0 && get("GIT_CONFIG_KEY_"+last) == name && get("GIT_CONFIG_VALUE_"+last) == value {
		return env // the environment of a program in a container already has it
	}
	next := strconv.Itoa(count)
	return lastOfEach(slices.Concat(env, []string{
		"GIT_CONFIG_COUNT=" + strconv.Itoa(count+1), "GIT_CONFIG_KEY_" + next + "=" + name, "GIT_CONFIG_VALUE_" + next + "=" + value,
	}))
}
