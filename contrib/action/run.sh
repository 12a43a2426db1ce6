# The step of action.yml: finds or builds stepexec and becomes it, so that it gets the
# runner's signals. The inputs are in INPUT_*, which stepexec reads by itself: what is
# secret among them must not get into a command line.
set -euo pipefail
STEPEXEC_ACTION=${GITHUB_ACTION_PATH:?this is run by action.yml}

fail() {
	echo "::error title=stepexec::$1"
	echo "exit-code=125" >>"${GITHUB_OUTPUT:-/dev/null}"
	echo "status=error" >>"${GITHUB_OUTPUT:-/dev/null}"
	exit 125
}

find_binary() {
	if [ -n "${INPUT_BINARY:-}" ]; then
		binary=$(command -v -- "$INPUT_BINARY") || fail "input binary: there is no program $INPUT_BINARY"
	elif binary=$(command -v stepexec); then
		:
	elif command -v go >/dev/null; then
		binary=${RUNNER_TEMP:-/tmp}/stepexec-$$
		echo "::group::build stepexec"
		(cd "$STEPEXEC_ACTION" && CGO_ENABLED=0 go build -trimpath -o "$binary" ./cmd/stepexec) ||
			fail "stepexec could not be built (install it on the runner, or name it: input binary)"
		echo "::endgroup::"
	else
		fail "there is no stepexec on PATH, and no go to build it with (install one of them on the runner, or name stepexec: input binary)"
	fi
}

find_binary
is=$("$binary" version) || fail "$binary does not run here"
if [ -n "${INPUT_VERSION:-}" ]; then
	case "$is" in
	"stepexec ${INPUT_VERSION#v} "*) ;;
	*) fail "version ${INPUT_VERSION} is asked for, and $binary is $is" ;;
	esac
fi
case "${INPUT_DEBUG:-}" in
1 | true) echo "$binary: $is" ;;
esac
if [ -n "${RUNNER_TEMP:-}" ]; then
	# The runner reads matchers by a path that it can see.
	echo "::add-matcher::$STEPEXEC_ACTION/contrib/action/matcher.json"
fi
export STEPEXEC_ACTION_ID=$$
exec "$binary" actions-run
