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
		{"Earthfile", "VERSION 0.8\nbuild:\n  FROM alpine\n", "Earthly"},
		{"Makefile", "all:\n\tmake\n", "make"},
		{"ci.yml", "steps:\n  - label: a\n    command: make\n  - wait\n", "Buildkite"},
		{"ci.yml", "steps:\n- name: gcr.io/cloud-builders/docker\n  args: [build, .]\n", "Google Cloud Build"},
		{"ci.yml", "version: 0.2\nphases:\n  build: {}\n", "AWS CodeBuild"},
		{"ci.yml", "version: v1.0\nagent: {}\nblocks: []\n", "Semaphore"},
		{"ci.yml", "language: go\nscript: make\n", "Travis CI"},
		{"ci.yml", "jobs:\n- name: a\nresources: []\n", "Concourse"},
		{"ci.yml", "task:\n  container: {image: x}\n  script: make\n", "Cirrus CI"},
		{"action.yml", "name: x\nruns:\n  using: composite\n", "GitHub Actions (an action)"},
		{"x.yml", "services:\n  web: {image: nginx}\nvolumes: {}\n", "docker compose"},
		{"x.yml", "include: [steps.yml]\nservices:\n  db: {image: x}\nvolumes: [a]\n", ""},
		{"pipeline.yml", "steps:\n  - name: a\n    image: x\n    command: make\n    key: a\n", ""},
		{"pipeline.yml", "steps:\n  - {name: a, image: x, command: make, label: b}\n", ""},
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
