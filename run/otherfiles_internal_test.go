package run

import "testing"

func TestFilesOfOtherSystemsAreRecognised(t *testing.T) {
	for _, test := range []struct{ path, content, want string }{
		{"/r/.github/workflows/ci.yml", "", "GitHub Actions"},
		{"ci.yml", "name: x\non: [push]\njobs:\n  a: {}\n", "GitHub Actions"},
		{"ci.yml", "'on':\n  push:\njobs: {}\n", "GitHub Actions"},
		{"/r/.gitlab-ci.yml", "build:\n  script: x\n", "GitLab CI"},
		{"ci.yml", "stages: [build]\nbuild:\n  script: x\n", "GitLab CI"},
		{"/r/.circleci/config.yml", "", "CircleCI"},
		{"ci.yml", "version: 2.1\njobs:\n  a: {}\n", "CircleCI"},
		{"bitbucket-pipelines.yml", "", "Bitbucket Pipelines"},
		{"ci.yml", "image: x\npipelines:\n  default: []\n", "Bitbucket Pipelines"},
		{"azure-pipelines.yml", "", "Azure Pipelines"},
		{"ci.yml", "trigger: [main]\npool: {vmImage: x}\nsteps: []\n", "Azure Pipelines"},
		{"ci.yml", "image: golang\nbuild:\n  script: [make]\n", "GitLab CI"},
		{"/r/Jenkinsfile", "pipeline { agent any }\n", "Jenkins"},
		{".travis.yml", "language: go\nscript: make\n", "Travis CI"},
		{"sub/Dockerfile", "FROM alpine\n", "docker build"},
		{"docker-compose.yml", "services:\n  web: {image: nginx}\n", "docker compose"},
		{"compose.yaml", "services: {}\n", "docker compose"},
		{"compose.yaml", "services: {}\nsteps: []\n", ""},
		{"task.yml", "apiVersion: tekton.dev/v1\nkind: Task\n", "Kubernetes, such as Tekton"},
		{"pipeline.yml", "steps:\n  - name: a\n    script: x\n", ""},
		{"pipeline.yml", "name: x\nsteps:\n  - name: a\n", ""},
		{"pipeline.yml", "version: 1\nsteps: []\n", ""},
		{"pipeline.yml", "jobs: []\n", ""},
	} {
		if got := otherSystem(test.path, []byte(test.content)); got != test.want {
			t.Errorf("%s %q is %q", test.path, test.content, got)
		}
	}
}
