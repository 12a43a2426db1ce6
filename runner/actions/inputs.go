package actions

import (
	"fmt"
	"path/filepath"
	"strings"
)

// graceOfCancel is the time that a step has after a cancel: the runner sends SIGINT, 7.5 s
// later SIGTERM and after another 2.5 s SIGKILL, and what was made is to be cleared away by then.
const graceOfCancel = "5s"

// RunArguments turns the inputs of the action, which its script hands on as variables
// INPUT_*, into the arguments of stepexec run. Secrets are among them: they must
// not become a command line, which every user of the machine may read. No error
// holds a value of env or secrets.
func RunArguments(input func(name string) string) ([]string, error) {
	r := &reader{input: input}
	isDry := r.isTrue("DRY_RUN")
	if isDry { // nothing runs: there are no groups of steps, and there is nothing to report
		r.args = append(r.args, "--dry-run")
	} else {
		r.args = append(r.args, "--output=github")
	}
	r.args = append(r.args, "--grace="+graceOfCancel)
	r.each("only", "STEPS")
	r.each("only", "INCLUDE")
	r.each("skip", "EXCLUDE")
	r.each("pipeline", "PIPELINE")
	r.variables("env", "env")
	r.variables("literal-secret", "secrets") // a value may be anybody's, such as a title: it must not run as a command
	for _, flag := range []string{"pull", "platform", "network", "timeout", "root"} {
		if value := strings.TrimSpace(r.value(strings.ToUpper(flag))); value != "" {
			r.add(flag, value)
		}
	}
	r.cacheDir()
	if dir := strings.TrimSpace(r.value("ARTIFACTS")); dir != "" && !isDry {
		r.add("artifacts", dir)
	}
	r.truth("fail-fast", "FAIL_FAST")
	if !isDry {
		r.truth("github-step-commands", "STEP_COMMANDS")
		r.reports()
	}
	r.args = append(r.args, lines(r.value("ARGS"))...)
	if file := strings.TrimSpace(r.value("FILE")); file != "" {
		r.args = append(r.args, "--", file)
	}
	return r.args, r.err
}

// reader keeps the first error.
type reader struct {
	input func(name string) string
	args  []string
	err   error
}

func (r *reader) value(name string) string { return r.input("INPUT_" + name) }

func (r *reader) add(flag, value string) { r.args = append(r.args, "--"+flag+"="+value) }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// each adds a flag for every item of a list, by lines or commas.
func (r *reader) each(flag, name string) {
	for _, line := range lines(r.value(name)) {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.TrimSpace(item); item != "" {
				r.add(flag, item)
			}
		}
	}
}

// truth adds a flag when its input is true.
func (r *reader) truth(flag, name string) {
	if r.isTrue(name) {
		r.args = append(r.args, "--"+flag)
	}
}

func (r *reader) isTrue(name string) bool {
	switch value := strings.TrimSpace(r.value(name)); value {
	case "", "false":
	case "true":
		return true
	default:
		r.fail("input %s: %q must be true or false", strings.ToLower(strings.ReplaceAll(name, "_", "-")), value)
	}
	return false
}

// cacheDir is the input root by the name that other actions have for what is kept between jobs.
func (r *reader) cacheDir() {
	dir, root := strings.TrimSpace(r.value("CACHE_DIR")), strings.TrimSpace(r.value("ROOT"))
	switch {
	case dir == "" || dir == root:
	case root == "":
		r.add("root", dir)
	default:
		r.fail("inputs root and cache-dir: they are the same folder, and two are given (leave one out)")
	}
}

// reports asks for those that are wanted, and for one of JSON that programs can read.
func (r *reader) reports() {
	wanted := lines(r.value("REPORT"))
	hasJSON := false
	for _, file := range wanted {
		hasJSON = hasJSON || filepath.Ext(file) == ".json"
		r.add("report", file)
	}
	if temp := r.input("RUNNER_TEMP"); !hasJSON && temp != "" {
		r.add("report", filepath.Join(temp, "stepexec-report-"+r.input("STEPEXEC_ACTION_ID")+".json"))
	}
}

// variables adds a flag for every variable of an input: NAME=VALUE, NAME, and, as in
// $GITHUB_ENV, NAME<<END with lines up to one that is END alone.
func (r *reader) variables(flag, input string) {
	all := strings.Split(strings.ReplaceAll(r.value(strings.ToUpper(input)), "\r\n", "\n"), "\n")
	for i := 0; i < len(all); i++ {
		line := strings.TrimLeft(all[i], " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, given := strings.Cut(line, "=")
		if before, end, ok := strings.Cut(line, "<<"); ok && (!given || len(before) < len(name)) {
			begin := i
			for i++; i < len(all) && all[i] != end; i++ {
			}
			if i == len(all) {
				r.fail("input %s: line %d: there is no line %q that ends the value", input, begin+1, end)
				return
			}
			name, value, given = before, strings.Join(all[begin+1:i], "\n"), true
		}
		if name = strings.TrimSpace(name); !isName(name) {
			r.fail("input %s: line %d: must be NAME=VALUE, or NAME for the value of the job's variable", input, i+1)
			return
		}
		if given {
			name += "=" + value
		}
		r.add(flag, name)
	}
}

// isName knows what may be the name of a variable or a secret.
func isName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// lines are those that are not empty, without space around them.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}
