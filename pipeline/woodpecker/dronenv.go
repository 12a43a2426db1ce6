package woodpecker

// droneNames are the variables that plugins written for Drone read, in whose names a
// plugin finds Woodpecker's.
var droneNames = map[string]string{
	"DRONE_BRANCH":                   "CI_COMMIT_BRANCH",
	"DRONE_PULL_REQUEST":             "CI_COMMIT_PULL_REQUEST",
	"PULLREQUEST_DRONE_PULL_REQUEST": "CI_COMMIT_PULL_REQUEST",
	"DRONE_TAG":                      "CI_COMMIT_TAG",
	"DRONE_SOURCE_BRANCH":            "CI_COMMIT_SOURCE_BRANCH",
	"DRONE_TARGET_BRANCH":            "CI_COMMIT_TARGET_BRANCH",
	"DRONE_BUILD_NUMBER":             "CI_PIPELINE_NUMBER",
	"DRONE_BUILD_PARENT":             "CI_PIPELINE_PARENT",
	"DRONE_BUILD_EVENT":              "CI_PIPELINE_EVENT",
	"DRONE_BUILD_LINK":               "CI_PIPELINE_URL",
	"DRONE_BUILD_CREATED":            "CI_PIPELINE_CREATED",
	"DRONE_BUILD_STARTED":            "CI_PIPELINE_STARTED",
	"DRONE_COMMIT":                   "CI_COMMIT_SHA",
	"DRONE_COMMIT_SHA":               "CI_COMMIT_SHA",
	"DRONE_COMMIT_BEFORE":            "CI_PREV_COMMIT_SHA",
	"DRONE_COMMIT_REF":               "CI_COMMIT_REF",
	"DRONE_COMMIT_BRANCH":            "CI_COMMIT_BRANCH",
	"DRONE_COMMIT_LINK":              "CI_PIPELINE_FORGE_URL",
	"DRONE_COMMIT_MESSAGE":           "CI_COMMIT_MESSAGE",
	"DRONE_COMMIT_AUTHOR":            "CI_COMMIT_AUTHOR",
	"DRONE_COMMIT_AUTHOR_NAME":       "CI_COMMIT_AUTHOR",
	"DRONE_COMMIT_AUTHOR_EMAIL":      "CI_COMMIT_AUTHOR_EMAIL",
	"DRONE_COMMIT_AUTHOR_AVATAR":     "CI_PIPELINE_AVATAR",
	"DRONE_REPO":                     "CI_REPO",
	"DRONE_REPO_OWNER":               "CI_REPO_OWNER",
	"DRONE_REPO_NAME":                "CI_REPO_NAME",
	"DRONE_REPO_LINK":                "CI_REPO_URL",
	"DRONE_REPO_BRANCH":              "CI_REPO_DEFAULT_BRANCH",
	"DRONE_REPO_PRIVATE":             "CI_REPO_PRIVATE",
	"DRONE_REMOTE_URL":               "CI_REPO_CLONE_URL",
	"DRONE_GIT_HTTP_URL":             "CI_REPO_CLONE_URL",
	"DRONE_SYSTEM_HOST":              "CI_SYSTEM_HOST",
	"DRONE_STEP_NUMBER":              "CI_STEP_NUMBER",
}

// addDrone adds Drone's variables for which there is a value.
func addDrone(env map[string]string) {
	for drone, woodpecker := range droneNames {
		if value, known := env[woodpecker]; known {
			env[drone] = value
		}
	}
	env["DRONE_REPO_SCM"] = "git"
	if env["CI_COMMIT_PULL_REQUEST"] == "" {
		env["PULLREQUEST_DRONE_PULL_REQUEST"] = "0" // plugins/manifest wants a number
	}
}
