package main

import (
	"testing"

	"github.com/stepexec/stepexec/rootless/rootlesstest"
)

// TestRootless runs the command line's tests once more, as a user without root.
func TestRootless(t *testing.T) {
	rootlesstest.Again(t, map[string]string{
		"TestPackagesImportOnlyWhatTheArchitectureAllows": "it is about the code",
		"TestSecurityDocNamesTestsThatExist":              "it is about the code",
		"TestPackagesInitialiseLittle":                    "it is about the code",
		"TestLinksOfTheDocumentationLeadSomewhere":        "it is about the documents",
		"TestNothingIsLeftWhateverIsKilled":               "it counts what root's runs leave on the host",
		"TestScripts/crash":                               "the guard dies with the run's process namespace; the next start removes the directories",
		"TestScripts/spoilt":                              "it fills a file system of its own",
		"TestScripts/settings":                            "it makes root's settings file",
		"TestScripts/badinput":                            "it takes privileges away",
		"TestScripts/cproject":                            "the Debian image is made by root",
		"TestScripts/failure":                             "it limits memory, and no cgroup is delegated to the user",
		"TestScripts/retry":                               "it limits memory, and no cgroup is delegated to the user",
		"TestScripts/spec":                                "it limits memory, and no cgroup is delegated to the user",
		"TestScripts/servicesdatabase":                    "the Debian image is made by root",
		"TestScripts/doctor":                              "it expects what root has",
		"TestScripts/building":                            "an image of the machine's own files has devices",
		"TestScripts/init":                                "the Debian image is made by root",
		"TestScripts/terminalend":                         "the Debian image is made by root",
		"TestScripts/stepcontainer":                       "it gives the workspace to another user",
		"TestScripts/record":                              "it expects root's name",
		"TestScripts/recordlive":                          "it expects root's name",
		"TestActionInAWorkflow":                           "act is built by root",
		"TestHookKeepsToAPolicyFile":                      "the sample names root's caches",
	}, "testdata", "../../fixtures/pipelines", "../../docs", "../../contrib", "../../install.sh")
}
