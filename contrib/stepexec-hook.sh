#!/bin/sh
# The container hook of a self-hosted runner of GitHub Actions, which takes scripts only:
#
#   ACTIONS_RUNNER_CONTAINER_HOOKS=/opt/stepexec/stepexec-hook.sh    (in the runner's .env)
#
# STEPEXEC names the program where it is not on PATH; STEPEXEC_HOOK_FLAGS has flags for
# it, such as --network host. exec, for the runner signals this process alone.
# shellcheck disable=SC2086
exec "${STEPEXEC:-stepexec}" actions-hook ${STEPEXEC_HOOK_FLAGS:-} "$@"
