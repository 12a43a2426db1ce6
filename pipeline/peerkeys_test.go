package pipeline_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

func TestKeysOfOtherSystemsNameTheNativeOne(t *testing.T) {
	for line, want := range map[string]string{
		"env: {A: b}":             `steps[0].env: unknown key (the key is called "environment" here)`,
		"run: echo":               `steps[0].run: unknown key (the key is called "commands" here)`,
		"script: [echo]":          `steps[0].script: unknown key (the key is called "commands" here)`,
		"needs: [b]":              `steps[0].needs: unknown key (the key is called "depends_on" here)`,
		"working-directory: x":    `steps[0].working-directory: unknown key (the key is called "directory" here)`,
		"continue-on-error: true": `steps[0].continue-on-error: unknown key (write failure: ignore)`,
		"soft_fail: true":         `steps[0].soft_fail: unknown key (write failure: ignore)`,
		"after_script: [x]":       `steps[0].after_script: unknown key (add a step with when: {status: always})`,
		"services: [x]":           `steps[0].services: unknown key (services stand beside steps, at the top of the file)`,
		"resources: {}":           `steps[0].resources: unknown key (write memory and cpus)`,
		"pull_policy: always":     `steps[0].pull_policy: unknown key (the key is called "pull" here)`,
		"privileged: yes":         `steps[0].privileged: must be true or false, not a string (write true or false, without quotes)`,
		"tmpfs: /x":               `steps[0].tmpfs: must be a list, not a string (write it as a list: [/x])`,
		"retry: {delay: 1}":       `steps[0].retry.attempts: is required`,
		"user: \"-1\"":            `steps[0].user: "-1" is not valid (a number must be from 0 to 4294967294)`,
		"user: \"0:4294967295\"":  `steps[0].user: "0:4294967295" is not valid (a number must be from 0 to 4294967294)`,
		"retry: 3":                `steps[0].retry: must be a map, not a number (write retry: {attempts: 3})`,
		"network: bridge":         `steps[0].network: must be "host", "none" or "private", not "bridge" (docker's bridge is called private here)`,
		"comands: [echo]":         `steps[0].comands: unknown key (did you mean "commands"?)`,
		"mem_limit: 1g":           `steps[0].mem_limit: unknown key (the key is called "memory" here)`,
		"with: {a: b}":            `steps[0].with: unknown key (the key is called "settings" here)`,
		"reports: out.xml":        `steps[0].reports: must be a map, not a string (write reports: {junit: [PATTERN]})`,
		"artifacts: [out]":        `steps[0].artifacts[0]: must be a map, not a string (write artifacts: {paths: [PATH]})`,
		"artifacts: out":          `steps[0].artifacts: must be a map, not a string (write artifacts: {paths: [PATH]})`,
		"zzz: 1":                  `steps[0].zzz: unknown key`,
	} {
		_, err := pipeline.Parse("p.yml", []byte("steps:\n  - name: a\n    image: x\n    "+line+"\n"))
		if err == nil || !strings.HasSuffix(strings.Split(err.Error(), "\n")[0], want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
