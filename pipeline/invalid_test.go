package pipeline_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

// catcher is who can tell that a file is wrong.
type catcher int

const (
	syntax    catcher = iota // breaks the rules of YAML, so the schema never sees it
	structure                // the schema and Parse both refuse it
	semantics                // only Parse refuses it
)

// invalid is one file of testdata/invalid each, with the whole error: every line
// has the name of the file in front.
var invalid = []struct {
	file  string
	catch catcher
	want  string
}{
	{"alias-bomb", syntax, `5:6: the file means more than 16 MiB once its aliases are written out (use fewer aliases of aliases)`},
	{"alias-of-merges", syntax, `2:11: the file means more than 16 MiB once its aliases are written out (use fewer aliases of aliases)`},
	{"args-map", structure, `4:11: steps[0].args: must be a string or a list of strings, not a map`},
	{"commands-and-entrypoint", structure, `4:5: steps[0].entrypoint: cannot be combined with commands (commands are a script that the shell runs in place of the image's entrypoint; remove one of the two)
6:5: steps[0].args: cannot be combined with commands (commands are a script that the shell runs in place of the image's entrypoint; remove one of the two)`},
	{"commands-blank", structure, `4:24: steps[0].commands[1]: must not be empty (write a command or remove it)`},
	{"commands-empty", structure, `4:15: steps[0].commands: must not be empty (give it a value or remove the key)`},
	{"commands-map-item", structure, `5:9: steps[0].commands[0]: must be a string, not a map (a colon before a space makes it one; put the command in quotes)`},
	{"commands-map", structure, `4:15: steps[0].commands: must be a string or a list of strings, not a map`},
	{"commands-nul", semantics, `4:15: steps[0].commands: must not contain a NUL byte`},
	{"commands-null-item", structure, `4:22: steps[0].commands[1]: must be a string, not null (give it a value or remove the key)`},
	{"comment-only", syntax, `1:1: the file is empty (a pipeline needs at least steps)`},
	{"control-character", syntax, `1:9: the file has a control character (U+001B) (remove it)`},
	{"cpus-infinite", structure, `4:11: steps[0].cpus: .inf is not a number of CPUs (write it like 2 or 0.5; the least is 0.01)`},
	{"cpus-string", structure, `4:11: steps[0].cpus: must be a number, not a string`},
	{"cpus-zero", structure, `4:11: steps[0].cpus: 0 is not a number of CPUs (write it like 2 or 0.5; the least is 0.01)`},
	{"cycle", semantics, `3:37: steps[1].depends_on: cycle: a -> c -> b -> a (remove one of these dependencies)`},
	{"deep", syntax, `1:55: nested more than 100 levels deep`},
	{"depends-on-map", structure, `4:17: steps[0].depends_on: must be a string, not a map`},
	{"depends-on-self", semantics, `4:17: steps[0].depends_on: a step cannot depend on itself`},
	{"depends-on-service", semantics, `5:18: steps[0].depends_on[0]: "db" is a service (services run before all steps; remove it from depends_on)`},
	{"depends-on-unknown", semantics, `6:18: steps[1].depends_on[0]: there is no step "biuld" (did you mean "build"?)`},
	{"directory-escape", semantics, `4:16: steps[0].directory: a relative directory must stay below the workspace (write an absolute path to leave it)`},
	{"directory-number", structure, `4:16: steps[0].directory: must be a string, not a number (put it in quotes)`},
	{"directory-proc", structure, `4:16: steps[0].directory: must not be under /proc`},
	{"duplicate-key", syntax, `4:5: duplicate key "image", first at line 3`},
	{"duplicate-merge", syntax, `5:5: duplicate key "<<", first at line 4 (to merge several maps write <<: [*a, *b])`},
	{"empty", syntax, `1:1: the file is empty (a pipeline needs at least steps)`},
	{"entrypoint-empty", structure, `4:17: steps[0].entrypoint: must not be empty (give it a value or remove the key)`},
	{"env-file-empty", structure, `1:11: env_file: must not be empty (give it a value or remove the key)`},
	{"env-file-map", structure, `1:11: env_file: must be a string or a list of strings, not a map`},
	{"environment-bad-secret", structure, `5:10: steps[0].environment.A.from_secret: is required
5:11: steps[0].environment.A.from_secrets: unknown key (did you mean "from_secret"?)`},
	{"environment-empty-name", structure, `4:19: steps[0].environment."": the name of a variable must not be empty`},
	{"environment-equals", structure, `4:19: steps[0].environment."A=B": the name of a variable must not contain = or NUL`},
	{"environment-list-value", structure, `5:10: steps[0].environment.A: must be a string, a number, true or false, or {from_secret: NAME}, not a list`},
	{"environment-list", structure, `5:7: steps[0].environment: must be a map, not a list (write NAME: value)`},
	{"environment-nul", semantics, `4:22: steps[0].environment.A: must not contain a NUL byte`},
	{"environment-null", structure, `5:9: steps[0].environment.A: has no value (write "" for an empty one)`},
	{"environment-secret-and-more", structure, `5:27: steps[0].environment.A.default: unknown key`},
	{"environment-secret-null", structure, `5:24: steps[0].environment.A.from_secret: must be a string, not null (give it a value or remove the key)`},
	{"environment-string", structure, `4:18: steps[0].environment: must be a map, not a string`},
	{"failure-bool", structure, `4:14: steps[0].failure: must be "fail" or "ignore", not a boolean`},
	{"failure-unknown", structure, `4:14: steps[0].failure: must be "fail" or "ignore", not "ignored" (did you mean "ignore"?)`},
	{"image-empty", structure, `3:12: steps[0].image: must not be empty (give it a value or remove the key)`},
	{"image-list", structure, `3:12: steps[0].image: must be a string, not a list`},
	{"image-null", structure, `3:11: steps[0].image: must be a string, not null (give it a value or remove the key)`},
	{"image-space", structure, `3:12: steps[0].image: "busy box" is not valid (an image reference has no spaces)`},
	{"many-errors", structure, `1:1: nmae: unknown key (did you mean "name"?)
4:12: steps[0].image: must be a string, not a list
5:14: steps[0].timeout: "never" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)
6:5: steps[1].image: is required
6:11: steps[1].name: the name "a" is already taken by steps[0].name at line 3
7:5: steps[1].imgae: unknown key (did you mean "image"?)
8:18: steps[1].depends_on[0]: there is no step "z"`},
	{"map-as-key", syntax, `4:7: a key must be a string`},
	{"memory-huge", semantics, `4:13: steps[0].memory: "999999999999999t" is too much memory`},
	{"memory-list", structure, `4:13: steps[0].memory: must be an amount of memory, not a list`},
	{"memory-negative", structure, `4:13: steps[0].memory: "-1" is not an amount of memory (write it like 512MiB, 1g or a number of bytes)`},
	{"memory-small", structure, `4:13: steps[0].memory: "512" is too little memory (the least is 6MiB; a bare number is bytes)`},
	{"memory-word", structure, `4:13: steps[0].memory: "lots" is not an amount of memory (write it like 512MiB, 1g or a number of bytes)`},
	{"merge-of-string", syntax, `4:5: << takes a map or a list of maps, not a string`},
	{"mount-bind-size", semantics, `4:14: steps[0].mounts[0]: unknown option "size=5m" of a bind mount`},
	{"mount-create-string", structure, `4:41: steps[0].mounts[0].create: must be true or false, not a string`},
	{"mount-empty", structure, `4:14: steps[0].mounts[0]: must not be empty (give it a value or remove the key)`},
	{"mount-home", semantics, `4:14: steps[0].mounts[0]: the source "~/.kube" is not expanded (write the whole path in place of ~)`},
	{"mount-map-twice-source", structure, `4:24: steps[0].mounts[0].source: the source is given twice (remove one)`},
	{"mount-no-destination", structure, `4:14: steps[0].mounts[0]: the mount has no destination (write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro)`},
	{"mount-no-source", semantics, `4:14: steps[0].mounts[0]: the mount has no source (write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro)`},
	{"mount-null", structure, `4:14: steps[0].mounts[0]: must be a string or a map, not null (give it a value or remove the key)`},
	{"mount-number", structure, `4:14: steps[0].mounts[0]: must be a string or a map, not a number`},
	{"mount-option", semantics, `4:14: steps[0].mounts[0]: unknown option "rbnd" of a bind mount (did you mean "rbind"?)`},
	{"mount-proc", semantics, `4:14: steps[0].mounts[0]: nothing can be mounted at "/proc/self/attr": /proc and /sys belong to the kernel`},
	{"mount-quotes", semantics, `4:14: steps[0].mounts[0]: "src=\"/a,dst=/b" is not a mount: its quotes do not match (write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro)`},
	{"mount-readonly", semantics, `4:14: steps[0].mounts[0]: readonly must be true or false, not "maybe"`},
	{"mount-relative", structure, `4:14: steps[0].mounts[0]: the path "b" in the container is not absolute (begin it with /)`},
	{"mount-ro-rw", semantics, `4:14: steps[0].mounts[0]: the options ro and rw exclude each other`},
	{"mount-root", semantics, `4:14: steps[0].mounts[0]: nothing can be mounted at / of the container (use image: rootfs:DIR to run in a directory)`},
	{"mount-same-destination", semantics, `6:9: steps[0].volumes[0]: /c is already mounted at line 4`},
	{"mount-secrets", structure, `4:14: steps[0].mounts[0]: nothing can be mounted at "/run/secrets": the secrets of the step are there (use secrets)`},
	{"mount-sys", semantics, `4:14: steps[0].mounts[0]: nothing can be mounted at "/x/../sys": /proc and /sys belong to the kernel`},
	{"mount-tmpfs-create", structure, `4:14: steps[0].mounts[0]: a tmpfs has no source to create (remove create)`},
	{"mount-tmpfs-option", semantics, `4:14: steps[0].mounts[0]: "big" is not valid for the mount option size`},
	{"mount-tmpfs-source", structure, `4:14: steps[0].mounts[0]: a tmpfs has no source (remove it, or use type bind)`},
	{"mount-twice-source", semantics, `4:14: steps[0].mounts[0]: the source is given twice`},
	{"mount-two-lines", semantics, `4:14: steps[0].mounts[0]: "src=/a,dst=/b\nsrc=/c" is not a mount: it has more than one line (write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro)`},
	{"mount-type", structure, `4:14: steps[0].mounts[0]: the type of a mount must be bind or tmpfs, not "tmps" (did you mean "tmpfs"?)`},
	{"mount-unknown-part", semantics, `4:14: steps[0].mounts[0]: unknown part "sorce" of a mount (did you mean "source"?)`},
	{"mount-volume-type", semantics, `4:14: steps[0].mounts[0]: the type of a mount must be bind or tmpfs, not "volume"`},
	{"mounts-string", structure, `4:13: steps[0].mounts: must be a list, not a string`},
	{"name-empty", structure, `1:7: name: must not be empty (give it a value or remove the key)`},
	{"name-newline", structure, `1:7: name: must be one line without control characters`},
	{"name-number", structure, `1:7: name: must be a string, not a number (put it in quotes)`},
	{"network-bridge", structure, `4:14: steps[0].network: must be "host" or "none", not "bridge"`},
	{"no-steps", structure, `1:1: steps: is required`},
	{"not-utf8", syntax, `2:12: the file is not UTF-8 text (save it as UTF-8)`},
	{"not-yaml-one-line", syntax, `1: not valid YAML: did not find expected node content`},
	{"not-yaml", syntax, `3: not valid YAML: did not find expected ',' or ']'`},
	{"null-document", syntax, `1:1: the file is empty (a pipeline needs at least steps)`},
	{"privileged-string", structure, `4:17: steps[0].privileged: must be true or false, not a string`},
	{"privileged-yes", structure, `4:17: steps[0].privileged: must be true or false, not a string`},
	{"pull-docker-word", structure, `4:11: steps[0].pull: must be "always", "missing" or "never", not "if-not-exists"`},
	{"pull-unknown", structure, `4:11: steps[0].pull: must be "always", "missing" or "never", not "alway" (did you mean "always"?)`},
	{"secret-env-equals", structure, `4:30: steps[0].secrets[0].env: the name of a variable must not contain = or NUL`},
	{"secret-env-twice", semantics, `5:15: steps[0].secrets[0]: the variable A is already set by environment (remove one of the two)`},
	{"secret-file-dots", structure, `4:31: steps[0].secrets[0].file: "/run/secrets/../x" is not directly below /run/secrets (write a plain file name)`},
	{"secret-file-outside", structure, `4:31: steps[0].secrets[0].file: "/etc/passwd" is not directly below /run/secrets (write a plain file name)`},
	{"secret-file-twice", semantics, `4:18: steps[0].secrets[1]: the file /run/secrets/x is already that of another secret`},
	{"secret-name", structure, `4:15: steps[0].secrets[0]: "a=b" is not valid (the name of a secret has letters, digits and any of _ . -)`},
	{"secret-no-name", structure, `4:15: steps[0].secrets[0].name: is required`},
	{"secret-null", structure, `4:15: steps[0].secrets[0]: must be a string or a map, not null (give it a value or remove the key)`},
	{"secret-number", structure, `4:15: steps[0].secrets[0]: must be a string or a map, not a number`},
	{"secret-unknown-key", structure, `4:25: steps[0].secrets[0].path: unknown key`},
	{"secrets-string", structure, `4:14: steps[0].secrets: must be a list, not a string`},
	{"self-alias", syntax, `1:6: anchor "a" contains itself`},
	{"service-depends-on", structure, `4:5: services.db.depends_on: is not allowed in a service (services start before the steps and run until the last one ends)
5:5: services.db.when: is not allowed in a service (services start before the steps and run until the last one ends)
6:5: services.db.failure: is not allowed in a service (services start before the steps and run until the last one ends)`},
	{"service-name-underscore", structure, `2:3: services.my_db: "my_db" is not valid as the name of a service (steps reach a service by its name, so it must be a host name: letters, digits and -)`},
	{"settings-collision", semantics, `4:28: steps[0].settings.dry_run: sets PLUGIN_DRY_RUN, as dry-run does (remove one of the two)`},
	{"settings-list", structure, `4:15: steps[0].settings: must be a map, not a list`},
	{"settings-null-item", structure, `4:23: steps[0].settings.a[1]: has no value (write "" for an empty one)`},
	{"settings-null", structure, `4:19: steps[0].settings.a: has no value (write "" for an empty one)`},
	{"settings-secret-and-more", structure, `4:40: steps[0].settings.a.b.y: unknown key`},
	{"settings-secret-name", structure, `4:33: steps[0].settings.a.from_secret: "a b" is not valid (the name of a secret has letters, digits and any of _ . -)`},
	{"shell-empty", structure, `5:12: steps[0].shell: must not be empty (give it a value or remove the key)`},
	{"shell-with-options", structure, `5:12: steps[0].shell: "bash -eu" is not the name of one program (write options as a list, like ["bash", "-eu"])`},
	{"shell-without-commands", structure, `4:5: steps[0].shell: needs commands (it is the shell that runs them)`},
	{"status-null", structure, `4:20: steps[0].when.status: must be a string or a list of strings, not null (give it a value or remove the key)`},
	{"step-and-service-name", semantics, `4:11: steps[0].name: the name "build" is already taken by services[0].name at line 2`},
	{"step-map-with-name", structure, `2:11: steps.build.name: the step has its name already, from the key above (remove it)`},
	{"step-name-key-slash", structure, `2:3: steps."a/b": "a/b" is not valid as a name (use letters, digits, spaces and any of _ . - with a letter or digit first)`},
	{"step-name-long", structure, `2:11: steps[0].name: the name has 101 characters, more than the 100 allowed`},
	{"step-name-slash", structure, `2:11: steps[0].name: "a/b" is not valid as a name (use letters, digits, spaces and any of _ . - with a letter or digit first)`},
	{"step-name-trailing-space", structure, `2:11: steps[0].name: "a " is not valid as a name (use letters, digits, spaces and any of _ . - with a letter or digit first)`},
	{"step-name-twice", semantics, `4:11: steps[1].name: the name "build" is already taken by steps[0].name at line 2`},
	{"step-no-image", structure, `2:5: steps[0].image: is required`},
	{"step-no-name", structure, `2:5: steps[0].name: is required`},
	{"step-null", structure, `2:9: steps.build: must be a map, not null (give it a value or remove the key)`},
	{"step-string", structure, `2:5: steps[0]: must be a map, not a string`},
	{"steps-empty-list", structure, `1:8: steps: must not be empty (a pipeline needs at least one step)`},
	{"steps-empty-map", structure, `1:8: steps: must not be empty (a pipeline needs at least one step)`},
	{"steps-null", structure, `1:7: steps: must be a list or a map, not null (give it a value or remove the key)`},
	{"steps-string", structure, `1:8: steps: must be a list or a map, not a string`},
	{"tab-indent", syntax, `3:1: not valid YAML: found a tab character that violates indentation (YAML indents with spaces, never with tabs)`},
	{"timeout-float", structure, `1:10: timeout: "1.5" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-huge", semantics, `1:10: timeout: a duration of 99999999999 is out of range (it must be more than 0 and less than 292 years)`},
	{"timeout-list", structure, `1:10: timeout: must be a duration, not a list`},
	{"timeout-negative", structure, `1:10: timeout: a duration of -5s is out of range (it must be more than 0 and less than 292 years)`},
	{"timeout-octal", semantics, `1:10: timeout: "010" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-quoted", structure, `1:10: timeout: "90" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-word", structure, `1:10: timeout: "soon" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-zero", structure, `1:10: timeout: a duration of 0 is out of range (it must be more than 0 and less than 292 years)`},
	{"tmpfs-destination-run-secrets", semantics, `4:14: steps[0].mounts[0]: nothing can be mounted at "/run//secrets/x": the secrets of the step are there (use secrets)`},
	{"too-many-steps", semantics, `1:1: the file has 1001 steps and services, more than the 1000 allowed`},
	{"top-level-list", structure, `1:1: must be a map, not a list`},
	{"top-level-string", structure, `1:1: must be a map, not a string`},
	{"trailing-separator", syntax, `4:1: the file has more than one document (a pipeline file is one document; remove the --- or split the file)`},
	{"two-documents", syntax, `4:1: the file has more than one document (a pipeline file is one document; remove the --- or split the file)`},
	{"undefined-alias", syntax, `4:11: not valid YAML: unknown anchor 'nobody' referenced (put a & anchor of that name before it, or quotes around it)`},
	{"unknown-step-key-in-map", structure, `2:36: steps."build and test".enviroment: unknown key (did you mean "environment"?)`},
	{"unknown-step-key", structure, `4:5: steps[0].comands: unknown key (did you mean "commands"?)`},
	{"unknown-tag", syntax, `4:11: tag "!vault" is not supported (remove it)`},
	{"unknown-top-key-far", structure, `1:1: zzzzzz: unknown key`},
	{"unknown-top-key", structure, `1:1: stesp: unknown key (did you mean "steps"?)`},
	{"user-null", structure, `4:10: steps[0].user: must be a string, not null (give it a value or remove the key)`},
	{"user-space", structure, `4:11: steps[0].user: "a b" is not valid (write a name or a uid, and after a colon a group or a gid)`},
	{"user-three", structure, `4:11: steps[0].user: "1:2:3" is not valid (write a name or a uid, and after a colon a group or a gid)`},
	{"utf16", syntax, `1:1: the file is not UTF-8 text (save it as UTF-8)`},
	{"volume-map", structure, `4:15: steps[0].volumes[0]: must be a string, not a map`},
	{"volume-mode", structure, `4:15: steps[0].volumes[0]: the mode of a volume must be ro or rw, not "z" (use mounts for other options)`},
	{"volume-no-source", structure, `4:15: steps[0].volumes[0]: the mount has no source (write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro)`},
	{"volume-one-part", structure, `4:15: steps[0].volumes[0]: "/a" is not a volume (write it like /etc:/host-etc or /etc:/host-etc:ro)`},
	{"volume-relative", structure, `4:15: steps[0].volumes[0]: the path "b" in the container is not absolute (begin it with /)`},
	{"when-status-always-in-list", structure, `4:21: steps[0].when.status[0]: must be "success" or "failure", not "always"`},
	{"when-status-empty", structure, `4:20: steps[0].when.status: must not be empty (give it a value or remove the key)`},
	{"when-string", structure, `4:11: steps[0].when: must be a map, not a string`},
	{"when-unknown", structure, `4:12: steps[0].when.branch: unknown key`},
	{"workspace-proc", structure, `1:12: workspace: nothing can be mounted at "/sys/../proc": /proc and /sys belong to the kernel`},
	{"workspace-relative", structure, `1:12: workspace: the path "src" in the container is not absolute (begin it with /)`},
	{"workspace-root", structure, `1:12: workspace: nothing can be mounted at / of the container (use image: rootfs:DIR to run in a directory)`},
	{"yaml-dedent", syntax, `3: not valid YAML: did not find expected key`},
	{"yaml-list-in-map", syntax, `4: not valid YAML: did not find expected key`},
	{"yaml-open-quote", syntax, `4: not valid YAML: found unexpected end of stream`},
	{"yaml-reserved", syntax, `4: not valid YAML: found character that cannot start any token`},
	{"yaml-two-colons", syntax, `2: not valid YAML: mapping values are not allowed in this context`},
}

func TestParseRefusesInvalidFiles(t *testing.T) {
	for _, test := range invalid {
		t.Run(test.file, func(t *testing.T) {
			_, err := pipeline.Parse("f", read(t, filepath.Join("testdata", "invalid", test.file+".yml")))
			var list pipeline.Errors
			if !errors.As(err, &list) {
				t.Fatalf("error is %T, not Errors: %v", err, err)
			}
			want := "f:" + strings.ReplaceAll(test.want, "\n", "\nf:")
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSchemaRefusesWhatIsWrongInStructure(t *testing.T) {
	schema := compileSchema(t)
	for _, test := range invalid {
		t.Run(test.file, func(t *testing.T) {
			got := semantics
			switch document, ok := pipeline.JSONValue(read(t, filepath.Join("testdata", "invalid", test.file+".yml"))); {
			case !ok:
				got = syntax
			case schema.Validate(document) != nil:
				got = structure
			}
			if got != test.catch {
				t.Errorf("caught by %d, the table says %d", got, test.catch)
			}
		})
	}
}

func TestEveryInvalidFileIsInTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, test := range invalid {
		known[test.file] = true
	}
	for _, file := range fixtures(t, "invalid") {
		if name := strings.TrimSuffix(filepath.Base(file), ".yml"); !known[name] {
			t.Errorf("%s is not in the table", file)
		}
	}
}
