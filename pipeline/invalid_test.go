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
	{"allow-new-privileges-number", structure, `4:27: steps[0].allow_new_privileges: must be true or false, not a number`},
	{"apparmor-space", structure, `4:15: steps[0].apparmor: "my profile" is not valid (a profile's name has no spaces)`},
	{"args-map", structure, `4:11: steps[0].args: must be a string or a list of strings, not a map`},
	{"artifacts-braces", semantics, `4:25: steps[0].artifacts.paths[0]: the braces of the pattern stand for more than the 256 patterns allowed (write a list of patterns)
5:23: steps[0].reports.junit[0]: the braces of the pattern stand for more than the 256 patterns allowed (write a list of patterns)`},
	{"artifacts-detached", structure, `4:5: steps[0].artifacts: cannot be combined with detach (a detached step runs until the other steps have ended)`},
	{"artifacts-empty", structure, `4:16: steps[0].artifacts: must not be empty (give it a value or remove the key)`},
	{"artifacts-excluded-only", semantics, `4:24: steps[0].artifacts.paths: excludes files only (add a path without ! in front)`},
	{"artifacts-name", structure, `4:23: steps[0].artifacts.name: "../x" is not valid (it is the name of a folder: letters, digits, spaces and any of _ . -, at most 100, with a letter or digit first)`},
	{"artifacts-no-paths", structure, `4:17: steps[0].artifacts[0].paths: is required`},
	{"artifacts-paths", structure, `4:26: steps[0].artifacts[0].paths[0]: "/etc" leads out of the workspace (write a path relative to the workspace, without ..)
4:32: steps[0].artifacts[0].paths[1]: "../x" leads out of the workspace (write a path relative to the workspace, without ..)
4:38: steps[0].artifacts[0].paths[2]: "a/../../b" leads out of the workspace (write a path relative to the workspace, without ..)
4:49: steps[0].artifacts[0].paths[3]: "!" names nothing (write . for the whole workspace)
4:54: steps[0].artifacts[0].paths[4]: "[" is not a valid pattern`},
	{"artifacts-size", structure, `4:37: steps[0].artifacts.max_size: "much" is not a size (write it like 100MiB, 1g or a number of bytes)`},
	{"artifacts-twice", semantics, `4:29: steps[0].artifacts[1]: there is already an artifact named "a" at line 4 (give it another name)`},
	{"artifacts-when", structure, `4:33: steps[0].artifacts.when: must be "always", "success" or "failure", not "sometimes"
4:56: steps[0].artifacts.if_missing: must be "warn" or "error", not "ignore"`},
	{"artifacts-word", structure, `4:16: steps[0].artifacts: must be a map, not a string (write artifacts: {paths: [PATH]})`},
	{"cache-item", structure, `4:13: steps[0].cache[0]: "a/b:/c" is not a cache (write it like go-mod:/go/pkg/mod; a name has letters, digits and any of _ . -, at most 100, with a letter or digit first)
4:23: steps[0].cache[1]: "a" is not a cache (write it like go-mod:/go/pkg/mod; a name has letters, digits and any of _ . -, at most 100, with a letter or digit first)
4:28: steps[0].cache[2]: must be a string, not a number (put it in quotes)
4:31: steps[0].cache[3].path: is required
4:42: steps[0].cache[4].name: is required
4:61: steps[0].cache[5].name: ".." is not valid (letters, digits and any of _ . -, at most 100, with a letter or digit first)`},
	{"cache-key-beside", semantics, `6:5: services[0].cache: the cache c would never be saved (a service or a detached step is stopped, and does not succeed; write mode: read, or leave out the key)
11:5: steps[0].cache: the cache c would never be saved (a service or a detached step is stopped, and does not succeed; write mode: read, or leave out the key)`},
	{"cache-key-empty", structure, `4:38: steps[0].cache[0].key: must not be empty (give it a value or remove the key)`},
	{"cache-key-fallback", semantics, `4:54: steps[0].cache[0].fallback: a fallback of 1 would drop the whole key of 1 parts (leave at least one)`},
	{"cache-key-missing", structure, `4:13: steps[0].cache[0].key: is required`},
	{"cache-key-mode", structure, `4:50: steps[0].cache[0].mode: must be "read", "write" or "read-write", not "none"
4:66: steps[0].cache[0].fallback: must be a whole number from 0 to 19, not 20`},
	{"cache-key-name", structure, `4:20: steps[0].cache[0].name: "../a" is not valid (letters, digits and any of _ . -, at most 100, with a letter or digit first)`},
	{"cache-key-store", structure, `4:49: steps[0].cache[0].store: "https://registry.example.com/ci" is not a store of caches (write local, a repository of a registry such as registry.example.com/ci/cache, or s3://BUCKET/PREFIX)
7:49: steps[1].cache[0].store: "registry.example.com/ci:latest" is not a store of caches (write local, a repository of a registry such as registry.example.com/ci/cache, or s3://BUCKET/PREFIX)
10:49: steps[2].cache[0].store: "s3://bucket/../other" is not a store of caches (write local, a repository of a registry such as registry.example.com/ci/cache, or s3://BUCKET/PREFIX)
13:49: steps[3].cache[0].store: "busybox" is not a store of caches (write local, a repository of a registry such as registry.example.com/ci/cache, or s3://BUCKET/PREFIX)`},
	{"cache-key-part", structure, `4:39: steps[0].cache[0].key[0]: "osx" is no part of a key (write os, arch, or a map such as {checksum: go.sum}, {env: GOVERSION} or {text: v2})
4:44: steps[0].cache[0].key[1]: must be a map, or os or arch, not a number
4:47: steps[0].cache[0].key[2]: must have one of checksum, env and text (write an item of the list for each)
4:75: steps[0].cache[0].key[3]: must have one of checksum, env and text (write an item of the list for each)
4:90: steps[0].cache[0].key[4].checksum: "/etc" leads out of the workspace (write a path relative to the workspace, without ..)
4:103: steps[0].cache[0].key[5].env: "A=B" is not the name of a variable`},
	{"cache-key-twice", semantics, `4:45: steps[0].cache[1]: /b is already mounted at line 4`},
	{"cache-option", semantics, `4:13: steps[0].cache[0]: "rw" is not an option of a cache (there are "ro" or "fill")
4:24: steps[0].cache[1]: "" is not an option of a cache (there are "ro" or "fill")`},
	{"cache-dev", semantics, `4:13: steps[0].cache[0]: a folder at /dev would hide the devices, without which nothing starts (mount it elsewhere, or below /dev)
4:23: steps[0].cache[1]: a folder at /dev would hide the devices, without which nothing starts (mount it elsewhere, or below /dev)`},
	{"cache-proc", semantics, `4:13: steps[0].cache[0]: nothing can be mounted at "/proc/x": /proc and /sys belong to the kernel`},
	{"cache-relative", structure, `4:13: steps[0].cache[0]: the path "b" in the container is not absolute (begin it with /)
4:20: steps[0].cache[1]: the path "c" in the container is not absolute (begin it with /)`},
	{"cache-string", structure, `4:12: steps[0].cache: must be a list, not a string (write it as a list)`},
	{"cache-twice", semantics, `4:21: steps[0].cache[1]: /b is already mounted at line 4`},
	{"cap-drop-empty", structure, `4:15: steps[0].cap_drop: must not be empty (give it a value or remove the key)`},
	{"cap-unknown", semantics, `4:15: steps[0].cap_add[0]: "NET_ADMN" is not a capability (did you mean "NET_ADMIN"?)`},
	{"cgroup-parent-dots", semantics, `4:20: steps[0].cgroup_parent: must not contain ..`},
	{"cgroup-parent-relative", structure, `4:20: steps[0].cgroup_parent: "ci/x.slice" is not the path of a cgroup (write it like /ci, or ci.slice with the systemd driver)`},
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
	{"cpu-period-large", structure, `4:17: steps[0].cpu_period: must be a whole number from 1000 to 1000000, not 1000001`},
	{"cpu-quota-octal", semantics, `4:16: steps[0].cpu_quota: must be a whole number from 1000 to 1099511627776, not 0100000`},
	{"cpu-quota-small", structure, `4:16: steps[0].cpu_quota: must be a whole number from 1000 to 1099511627776, not 999`},
	{"cpu-shares-string", structure, `4:17: steps[0].cpu_shares: must be a number, not a string`},
	{"cpus-and-quota", structure, `5:5: steps[0].cpu_quota: cannot be combined with cpus (cpus: 1.5 is a quota of 150000 in a period of 100000; remove one of the two)
6:5: steps[0].cpu_period: cannot be combined with cpus (cpus: 1.5 is a quota of 150000 in a period of 100000; remove one of the two)`},
	{"cpus-infinite", structure, `4:11: steps[0].cpus: .inf is not a number of CPUs (write it like 2 or 0.5; the least is 0.01)`},
	{"cpus-string", structure, `4:11: steps[0].cpus: must be a number, not a string`},
	{"cpus-zero", structure, `4:11: steps[0].cpus: 0 is not a number of CPUs (write it like 2 or 0.5; the least is 0.01)`},
	{"cpuset-cpus-word", structure, `4:18: steps[0].cpuset_cpus: "all" is not a list of numbers (write it like "0-3,8")`},
	{"cpuset-mems-list", structure, `4:18: steps[0].cpuset_mems: must be a string, not a list`},
	{"cycle", semantics, `3:37: steps[1].depends_on: cycle: a -> c -> b -> a (remove one of these dependencies)`},
	{"deep", syntax, `1:55: nested more than 100 levels deep`},
	{"depends-on-map", structure, `4:17: steps[0].depends_on: must be a string, not a map`},
	{"depends-on-self", semantics, `4:17: steps[0].depends_on: a step cannot depend on itself`},
	{"depends-on-unknown", semantics, `6:18: steps[1].depends_on[0]: there is no step "biuld" (did you mean "build"?)`},
	{"detach-service", structure, `1:27: services.db.detach: is not allowed in a service (services start before the steps and run until the last one ends)
2:31: steps.a.detach: must be true, false or "service", not a number`},
	{"detach-timeout", structure, `5:5: steps[0].timeout: cannot be combined with detach (a detached step runs until the other steps have ended)`},
	{"device-cdi", semantics, `4:15: steps[0].devices[0]: "vendor.com/net=" is not a device (write a path like /dev/fuse:/dev/fuse:rwm, or a CDI name like vendor.com/class=name)`},
	{"device-outside", semantics, `4:15: steps[0].devices[0]: "/dev/sda:/etc/passwd" is not below /dev in the container
4:39: steps[0].devices[1]: "/etc" is not below /dev in the container
4:47: steps[0].devices[2]: "/dev/../proc/kcore" is not below /dev in the container`},
	{"device-rights", semantics, `4:15: steps[0].devices[0]: "/dev/fuse:/dev/fuse:x" is not a device (write it like /dev/fuse, /dev/sda:/dev/disk or /dev/sda:/dev/disk:r; the rights are r, w and m in this order)
4:40: steps[0].devices[1]: "/dev/fuse:" is not a device (write it like /dev/fuse, /dev/sda:/dev/disk or /dev/sda:/dev/disk:r; the rights are r, w and m in this order)`},
	{"device-word", structure, `4:15: steps[0].devices[0]: "fuse" is not a device (write a path like /dev/fuse:/dev/fuse:rwm, or a CDI name like vendor.com/class=name)`},
	{"directory-escape", semantics, `4:16: steps[0].directory: a relative directory must stay below the workspace (write an absolute path to leave it)`},
	{"directory-number", structure, `4:16: steps[0].directory: must be a string, not a number (put it in quotes)`},
	{"directory-proc", structure, `4:16: steps[0].directory: must not be under /proc`},
	{"dns-name", semantics, `4:11: steps[0].dns[0]: "dns.example.org" is not an IP address`},
	{"dns-zone", semantics, `4:10: steps[0].dns: "fe80::1%a\nnameserver 192.0.2.1" is not an IP address`},
	{"dns-option-space", semantics, `4:18: steps[0].dns_options: "ndots:2 rotate" is not valid (write it like ndots:2 or rotate, see resolv.conf(5))`},
	{"dns-search-newline", semantics, `4:17: steps[0].dns_search: "a\nnameserver 192.0.2.1" is not valid (write a domain like example.org)`},
	{"duplicate-key", syntax, `4:5: duplicate key "image", first at line 3`},
	{"duplicate-merge", syntax, `5:5: duplicate key "<<", first at line 4 (to merge several maps write <<: [*a, *b])`},
	{"empty", syntax, `1:1: the file is empty (a pipeline needs at least steps)`},
	{"entrypoint-empty", structure, `4:17: steps[0].entrypoint: must not be empty (give it a value or remove the key)`},
	{"ends-run-zero", structure, `4:16: steps[0].ends_run[0]: must be a whole number from 1 to 255, not 0`},
	{"env-file-empty", structure, `1:11: env_file: must not be empty (give it a value or remove the key)`},
	{"env-file-map", structure, `1:11: env_file: must be a string or a list of strings, not a map`},
	{"environment-bad-secret", structure, `5:10: steps[0].environment.A.from_secret: is required
5:11: steps[0].environment.A.from_secrets: unknown key (did you mean "from_secret"?)`},
	{"environment-bad-fact", structure, `5:21: steps[0].environment.A.from_run: must be "status", "failed_steps" or "started", not "colour"`},
	{"environment-github", semantics, `5:10: steps[0].environment.A: ${{ secrets.TOKEN }} is an expression of GitHub Actions, which is not evaluated (write {from_secret: TOKEN})
6:10: steps[0].environment.B: ${{secrets['TOKEN']}} is an expression of GitHub Actions, which is not evaluated (give the step {from_secret: TOKEN} as a variable, and put the text together in a command)
9:7: steps[1].environment[0]: ${{ secrets.TOKEN }} is an expression of GitHub Actions, which is not evaluated (write {from_secret: TOKEN})
12:14: steps[2].settings.key[0]: ${{ secrets.TOKEN }} is an expression of GitHub Actions, which is not evaluated (write {from_secret: TOKEN})`},
	{"environment-empty-name", structure, `4:19: steps[0].environment."": the name of a variable must not be empty`},
	{"environment-equals", structure, `4:19: steps[0].environment."A=B": the name of a variable must not contain = or NUL`},
	{"environment-list", structure, `4:24: steps[0].environment[1]: the variable A is already set in this list (remove one of the two)
4:29: steps[0].environment[2]: the name of a variable must not be empty
4:33: steps[0].environment[3]: must be a string, not a number (write NAME=value, or NAME for the host's value)`},
	{"environment-list-value", structure, `5:10: steps[0].environment.A: must be a string, a number, true or false, {from_secret: NAME} or {from_run: FACT}, not a list`},
	{"environment-nul", semantics, `4:22: steps[0].environment.A: must not contain a NUL byte`},
	{"environment-null", structure, `5:9: steps[0].environment.A: has no value (write "" for an empty one)`},
	{"environment-secret-and-more", structure, `5:27: steps[0].environment.A.default: unknown key (use "from_secret")`},
	{"environment-secret-null", structure, `5:24: steps[0].environment.A.from_secret: must be a string, not null (give it a value or remove the key)`},
	{"environment-string", structure, `4:18: steps[0].environment: must be a map or a list, not a string`},
	{"extra-hosts-address", semantics, `4:23: steps[0].extra_hosts.db: "localhost" is not an IP address`},
	{"extra-hosts-item", structure, `4:19: steps[0].extra_hosts[0]: "db" is not a name and an address (write it like db:192.0.2.7)
4:23: steps[0].extra_hosts[1]: "db:gateway" is not a name and an address (write it like db:192.0.2.7)`},
	{"extra-hosts-newline", structure, `4:19: steps[0].extra_hosts."db\n192.0.2.1 evil": "db\n192.0.2.1 evil" is not valid as the name of a host`},
	{"extra-hosts-string", structure, `4:18: steps[0].extra_hosts: must be a map or a list, not a string`},
	{"fail-fast-word", structure, `1:12: fail_fast: must be true or false, not a string (write true or false, without quotes)
3:18: services.db.retry: is not allowed in a service (services start before the steps and run until the last one ends)
5:39: steps[0].retry: cannot be combined with detach (a detached step runs until the other steps have ended)`},
	{"failure-bool", structure, `4:14: steps[0].failure: must be "fail", "ignore" or "cancel", not a boolean`},
	{"failure-unknown", structure, `4:14: steps[0].failure: must be "fail", "ignore" or "cancel", not "ignored" (did you mean "ignore"?)`},
	{"gidmap-alone", structure, `4:5: steps[0].gidmap: needs uidmap (a user namespace maps both)`},
	{"gpus-path", semantics, `4:11: steps[0].gpus: "/dev/nvidia0" is not a GPU (write all, a number from 0, a UUID, or a CDI name)`},
	{"hostname-long", structure, `4:15: steps[0].hostname: has 74 characters, and Linux takes 64 at most`},
	{"hostname-space", structure, `4:15: steps[0].hostname: "a b" is not valid (a host name has letters, digits, - and dots)`},
	{"idmap-bad", structure, `4:14: steps[0].uidmap[0]: "0:1" is not a mapping of ids (write container:host:size, like 0:100000:65536)
4:21: steps[0].uidmap[1]: "0:0:0" is not a mapping of ids (write container:host:size, like 0:100000:65536)
4:30: steps[0].uidmap[2]: "4294967295:0:2" goes beyond the last id
5:13: steps[0].gidmap: must be a string, not a number (put it in quotes)`},
	{"image-empty", structure, `3:12: steps[0].image: must not be empty (give it a value or remove the key)`},
	{"image-list", structure, `3:12: steps[0].image: must be a string, not a list`},
	{"image-null", structure, `3:11: steps[0].image: must be a string, not null (give it a value or remove the key)`},
	{"image-space", structure, `3:12: steps[0].image: "busy box" is not valid (an image reference has no spaces)`},
	{"io-weight-large", structure, `4:16: steps[0].io_weight: must be a whole number from 10 to 1000, not 1001`},
	{"labels-list", structure, `4:13: steps[0].labels: must be a map, not a list`},
	{"labels-runtime", semantics, `5:7: steps[0].labels."org.systemd.property.ExecStopPost": the runtime obeys labels of this name (choose another name)
6:7: steps[0].labels."run.oci.handler": the runtime obeys labels of this name (choose another name)`},
	{"labels-null", structure, `4:17: steps[0].labels.a: must be a string, not null (give it a value or remove the key)
4:23: steps[0].labels."": the name of a label must not be empty`},
	{"many-errors", structure, `1:1: nmae: unknown key (did you mean "name"?)
4:12: steps[0].image: must be a string, not a list
5:14: steps[0].timeout: "never" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)
6:5: steps[1].image: is required
6:11: steps[1].name: the name "a" is already taken by steps[0].name at line 3
7:5: steps[1].imgae: unknown key (did you mean "image"?)
8:18: steps[1].depends_on[0]: there is no step "z"`},
	{"map-as-key", syntax, `4:7: a key must be a string (put a text that begins with { or [ in quotes)`},
	{"matrix-axis-name", structure, `1:10: matrix.GO-VERSION: "GO-VERSION" is not valid as the name of an axis (the name of an axis is that of a variable: letters, digits and _)`},
	{"matrix-axis-unknown", semantics, `3:5: steps[0].image: the matrix has no axis "OG" (did you mean "GO"?)
5:5: steps[0].when.matrix: the matrix has no axis "GOO" (did you mean "GO"?)`},
	{"matrix-cells", semantics, `1:9: matrix: the matrix has more than the 256 cells allowed`},
	{"matrix-empty", structure, `1:9: matrix: the matrix has no cells (give it an axis with values, or include)`},
	{"matrix-exclude-all", semantics, `1:9: matrix: the matrix has no cells (give it an axis with values, or include)`},
	{"matrix-exclude-unknown", semantics, `1:31: matrix.exclude: GO=3 is not a value of any axis
1:31: matrix.exclude: OS=linux is not a value of any axis`},
	{"matrix-include", structure, `1:20: matrix.include[0]: must be a map from axes to values, not a string
1:23: matrix.include[1]: must not be empty (give it an axis and its value)
1:31: matrix.include[2].A: must be a string, not a list
1:38: matrix.include[3].A-B: "A-B" is not valid as the name of an axis (the name of an axis is that of a variable: letters, digits and _)`},
	{"matrix-list", structure, `1:9: matrix: must be a map, not a list`},
	{"matrix-newline", structure, `1:14: matrix.A[0]: must be one line without control characters`},
	{"matrix-value-twice", structure, `1:21: matrix.GO[2]: the value "1" is listed twice`},
	{"matrix-values", structure, `1:9: matrix: the matrix has no cells (give it an axis with values, or include)
1:14: matrix.GO: must be a list of values (write it like [1.25, 1.26])
1:24: matrix.OS: must be a list of values (write it like [1.25, 1.26])`},
	{"memory-huge", semantics, `4:13: steps[0].memory: "999999999999999t" is too much memory`},
	{"memory-list", structure, `4:13: steps[0].memory: must be an amount of memory, not a list`},
	{"memory-negative", structure, `4:13: steps[0].memory: "-1" is not an amount of memory (write it like 512MiB, 1g or a number of bytes)`},
	{"memory-small", structure, `4:13: steps[0].memory: "512" is too little memory (the least is 6MiB; a bare number is bytes)`},
	{"memory-swap-alone", structure, `4:5: steps[0].memory_swap: needs memory (it is the limit of memory and swap together)`},
	{"memory-swap-small", semantics, `5:18: steps[0].memory_swap: is less than memory (it is the limit of memory and swap together; the same value is no swap)`},
	{"memory-word", structure, `4:13: steps[0].memory: "lots" is not an amount of memory (write it like 512MiB, 1g or a number of bytes)`},
	{"merge-of-string", syntax, `4:5: << takes a map or a list of maps, not a string`},
	{"mount-bind-size", semantics, `4:14: steps[0].mounts[0]: unknown option "size=5m" of a bind mount`},
	{"mount-create-string", structure, `4:41: steps[0].mounts[0].create: must be true or false, not a string (write true or false, without quotes)`},
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
	{"mount-type", structure, `4:14: steps[0].mounts[0]: the type of a mount must be bind, tmpfs or volume, not "tmps" (did you mean "tmpfs"?)`},
	{"mount-unknown-part", semantics, `4:14: steps[0].mounts[0]: unknown part "sorce" of a mount (did you mean "source"?)`},
	{"mount-volume-type", semantics, `4:14: steps[0].mounts[0]: a volume in this form has no name (write volumes: [NAME:PATH] and NAME in the volumes of the pipeline, or cache: [NAME:PATH]; with stepexec step, -v NAME:PATH)`},
	{"mounts-string", structure, `4:13: steps[0].mounts: must be a list, not a string (write it as a list)`},
	{"name-empty", structure, `1:7: name: must not be empty (give it a value or remove the key)`},
	{"name-newline", structure, `1:7: name: must be one line without control characters`},
	{"name-number", structure, `1:7: name: must be a string, not a number (put it in quotes)`},
	{"namespace-and-network", semantics, `5:5: steps[0].namespaces: joins a network, and network names another (remove one of the two)`},
	{"namespace-relative", structure, `4:27: steps[0].namespaces.network: "ns/net" is not an absolute path (write it like /proc/1234/ns/net)
4:42: steps[0].namespaces.mount: "host" is not an absolute path (write it like /proc/1234/ns/net)`},
	{"namespace-unknown", structure, `4:18: steps[0].namespaces.net: unknown type of namespace (it is "network", "ipc", "pid", "uts", "mount", "user" or "cgroup")`},
	{"network-bridge", structure, `4:14: steps[0].network: must be "host", "none" or "private", not "bridge" (docker's bridge is called private here)`},
	{"no-steps", structure, `1:1: steps: is required`},
	{"not-utf8", syntax, `2:12: the file is not UTF-8 text (save it as UTF-8)`},
	{"not-yaml-one-line", syntax, `1:9: not valid YAML: the [ is not closed (close it with ], or put the text in quotes if [ does not begin a list)`},
	{"not-yaml", syntax, `3:12: not valid YAML: the [ is not closed (close it with ], or put the text in quotes if [ does not begin a list)`},
	{"null-document", syntax, `1:1: the file is empty (a pipeline needs at least steps)`},
	{"output-limit-small", semantics, `4:19: steps[0].output_limit: "1k" of output is out of range (the least is 4KiB; without the key the limit is the machine's)`},
	{"output-limit-word", structure, `4:19: steps[0].output_limit: "much" is not a size (write it like 100MiB, 1g or a number of bytes)`},
	{"output-no-path", structure, `4:13: steps[0].output: must be none or file:PATH, not "file:"`},
	{"output-word", structure, `4:13: steps[0].output: must be none or file:PATH, not "nothing"`},
	{"owner-large", semantics, `4:22: steps[0].workspace_owner: "4294967296:0" is not an owner (write numbers like 1000:1000, or me for the owner of the workspace)`},
	{"owner-name", structure, `4:22: steps[0].workspace_owner: "alice" is not an owner (write numbers like 1000:1000, or me for the owner of the workspace)`},
	{"platform-word", structure, `4:15: steps[0].platform: "arm64" is not valid (write it like linux/amd64 or linux/arm/v7)`},
	{"pids-zero", structure, `4:11: steps[0].pids: must be a whole number from 1 to 4194304, not 0`},
	{"ports-bad", structure, `5:13: steps[0].ports[0]: the port 0 is not from 1 to 65535
5:16: steps[0].ports[1]: the port 70000 is not from 1 to 65535
5:28: steps[0].ports[2]: "x:80" is not a port (write it like 8080:80, 127.0.0.1:8080:80, 8000-8009:8000-8009 or 53:53/udp)
5:36: steps[0].ports[3]: "300.1.1.1" is not an IP address
5:66: steps[0].ports[5]: the port 8080 of the host is published twice
5:77: steps[0].ports[6]: "80/sctp" is not a port (write it like 8080:80, 127.0.0.1:8080:80, 8000-8009:8000-8009 or 53:53/udp)`},
	{"ports-host", structure, `4:5: steps[0].ports: needs network: private (on the host's network every port is already the host's)`},
	{"ports-map", structure, `4:5: steps[0].ports: needs network: private (on the host's network every port is already the host's)
4:12: steps[0].ports: must be a list, not a map`},
	{"privileged-null", structure, `4:17: steps[0].privileged: must be true or false, not null (give it a value or remove the key)`},
	{"privileged-string", structure, `4:17: steps[0].privileged: must be true or false, not a string (write true or false, without quotes)`},
	{"privileged-yes", structure, `4:17: steps[0].privileged: must be true or false, not a string (write true or false, without quotes)`},
	{"pull-docker-word", structure, `4:11: steps[0].pull: must be "always", "missing" or "never", not "if-not-exists"`},
	{"pull-unknown", structure, `4:11: steps[0].pull: must be "always", "missing" or "never", not "alway" (did you mean "always"?)`},
	{"read-only-string", structure, `4:16: steps[0].read_only: must be true or false, not a string (write true or false, without quotes)`},
	{"ready-exec", structure, `2:40: services[0].ready.exec: must not be empty (write a command or remove it)
3:40: services[1].ready.exec: must not be empty (give it a value or remove the key)
4:41: services[2].ready.exec[0]: must not be empty (give it a value or remove the key)`},
	{"ready-http", structure, `2:41: services[0].ready.http: "localhost:80" is not a URL (write it like http://web:8080/health)
3:41: services[1].ready.http.url: is required
4:68: services[2].ready.http.status: must be a whole number from 100 to 599, not 99`},
	{"ready-log", semantics, "1:41: services.db.ready.log: missing closing ): `ready (` (it is a regular expression; put a backslash in front of characters that stand for themselves)"},
	{"ready-network", semantics, `2:50: services[0].ready.tcp: needs a network, and the step has none (use exec or log)
2:61: services[0].ready.http: needs a network, and the step has none (use exec or log)`},
	{"ready-number", structure, `1:35: services.db.ready: must be a map, none or healthcheck, not a number`},
	{"ready-step", structure, `5:5: steps[0].ready: only a service, or a step with detach, can be waited for (a step is over when its command has ended; remove it)`},
	{"ready-tcp-large", semantics, `1:41: services.db.ready.tcp: "db:65536" is not a port (write it like 5432 or db:5432)`},
	{"ready-tcp", structure, `2:39: services[0].ready.tcp: "0" is not a port (write it like 5432 or db:5432)
3:39: services[1].ready.tcp: "db" is not a port (write it like 5432 or db:5432)
4:39: services[2].ready.tcp: "my host" is not the name of a host (write it like 5432 or db:5432)
5:39: services[3].ready.tcp: must be a port, not a list`},
	{"ready-unknown", structure, `1:36: services.db.ready.tpc: unknown key (did you mean "tcp"?)`},
	{"ready-word", structure, `1:35: services.db.ready: must be "none" or "healthcheck", not "soon"`},
	{"retry-attempts", structure, `4:23: steps[0].retry.attempts: must be a whole number from 1 to 100, not 101`},
	{"retry-no-attempts", structure, `4:12: steps[0].retry.attempts: is required`},
	{"retry-number", structure, `4:12: steps[0].retry: must be a map, not a number (write retry: {attempts: 3})`},
	{"retry-on", structure, `4:31: steps[0].retry.on[0]: 0 is not the exit code of a failure (they go from 1 to 255)
4:34: steps[0].retry.on[1]: must be "error", "oom" or "timeout", not "oops"
4:40: steps[0].retry.on[2]: 256 is not the exit code of a failure (they go from 1 to 255)`},
	{"retry-on-empty", structure, `4:30: steps[0].retry.on: must not be empty (give it a value or remove the key)`},
	{"seccomp-bool", structure, `4:14: steps[0].seccomp: must be a string, not a boolean (put it in quotes)`},
	{"secret-env-equals", structure, `4:30: steps[0].secrets[0].env: the name of a variable must not contain = or NUL`},
	{"secret-env-twice", semantics, `5:15: steps[0].secrets[0]: the variable A is already set by environment (remove one of the two)`},
	{"secret-file-dots", structure, `4:31: steps[0].secrets[0].file: "/run/secrets/../x" is not directly below /run/secrets (write a plain file name)`},
	{"secret-file-outside", structure, `4:31: steps[0].secrets[0].file: "/etc/passwd" is not directly below /run/secrets (write a plain file name)`},
	{"secret-file-twice", semantics, `4:18: steps[0].secrets[1]: the file /run/secrets/x is already that of another secret`},
	{"secret-name", structure, `4:15: steps[0].secrets[0]: "a=b" is not valid (the name of a secret has letters, digits and any of _ . -)`},
	{"secret-no-name", structure, `4:15: steps[0].secrets[0].name: is required`},
	{"secret-null", structure, `4:15: steps[0].secrets[0]: must be a string or a map, not null (give it a value or remove the key)`},
	{"secret-number", structure, `4:15: steps[0].secrets[0]: must be a string or a map, not a number`},
	{"secret-unknown-key", structure, `4:25: steps[0].secrets[0].path: unknown key (use "env", "file" or "name")`},
	{"secrets-string", structure, `4:14: steps[0].secrets: must be a list, not a string (write it as a list: [token])`},
	{"self-alias", syntax, `1:6: anchor "a" contains itself`},
	{"service-depends-on", structure, `4:5: services.db.depends_on: is not allowed in a service (services start before the steps and run until the last one ends)
5:5: services.db.when: is not allowed in a service (services start before the steps and run until the last one ends)`},
	{"service-name-space", structure, `2:3: services."my db": "my db" is not valid as the name of a service (steps reach a service by its name, so it must be a host name: letters, digits and -)`},
	{"settings-collision", semantics, `4:28: steps[0].settings.dry_run: sets PLUGIN_DRY_RUN, as dry-run does (remove one of the two)`},
	{"settings-list", structure, `4:15: steps[0].settings: must be a map, not a list`},
	{"settings-null-item", structure, `4:23: steps[0].settings.a[1]: has no value (write "" for an empty one)`},
	{"settings-null", structure, `4:19: steps[0].settings.a: has no value (write "" for an empty one)`},
	{"settings-secret-and-more", structure, `4:40: steps[0].settings.a.b.y: unknown key (use "from_secret")`},
	{"settings-secret-name", structure, `4:33: steps[0].settings.a.from_secret: "a b" is not valid (the name of a secret has letters, digits and any of _ . -)`},
	{"shell-empty", structure, `5:12: steps[0].shell: must not be empty (give it a value or remove the key)`},
	{"shell-with-options", structure, `5:12: steps[0].shell: "bash -eu" is not the name of one program (write options as a list, like ["bash", "-eu"])`},
	{"shell-without-commands", structure, `4:5: steps[0].shell: needs commands (it is the shell that runs them)`},
	{"shm-size-zero", structure, `4:15: steps[0].shm_size: "0" is too little memory (remove the key for no limit)`},
	{"spec-and-commands", structure, `5:5: steps[0].commands: has no effect beside a raw specification (that is used as it is; remove one of the two, or use spec_patch alone)
6:5: steps[0].memory: has no effect beside a raw specification (that is used as it is; remove one of the two, or use spec_patch alone)`},
	{"spec-map", structure, `4:11: steps[0].spec: must be a string, not a map`},
	{"spec-patch-secret", semantics, `4:34: steps[0].spec_patch.process.env[0]: a secret cannot be part of a specification (use secrets)`},
	{"spec-patch-string", structure, `4:17: steps[0].spec_patch: must be a map, not a string`},
	{"status-null", structure, `4:20: steps[0].when.status: must be a string or a list of strings, not null (give it a value or remove the key)`},
	{"stdin-bool", structure, `4:12: steps[0].stdin: must be a string, not a boolean (put it in quotes)`},
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
	{"tab-indent", syntax, `3:1: not valid YAML: a tab indents this line (YAML indents with spaces, never with tabs)`},
	{"timeout-float", structure, `1:10: timeout: "1.5" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-huge", semantics, `1:10: timeout: a duration of 99999999999 is out of range (it must be more than 0 and less than 292 years)`},
	{"timeout-list", structure, `1:10: timeout: must be a duration, not a list`},
	{"timeout-negative", structure, `1:10: timeout: a duration of -5s is out of range (it must be more than 0 and less than 292 years)`},
	{"timeout-octal", semantics, `1:10: timeout: "010" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-quoted", structure, `1:10: timeout: "90" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-word", structure, `1:10: timeout: "soon" is not a duration (write it like 90s, 10m or 1h30m; a bare number is seconds)`},
	{"timeout-zero", structure, `1:10: timeout: a duration of 0 is out of range (it must be more than 0 and less than 292 years)`},
	{"tmpfs-destination-run-secrets", semantics, `4:14: steps[0].mounts[0]: nothing can be mounted at "/run//secrets/x": the secrets of the step are there (use secrets)`},
	{"tmpfs-option", semantics, `4:13: steps[0].tmpfs[0]: unknown option "sise=5m" of a tmpfs mount (did you mean "size="?)`},
	{"tmpfs-relative", structure, `4:13: steps[0].tmpfs[0]: the path "tmp" in the container is not absolute (begin it with /)`},
	{"tmpfs-string", structure, `4:12: steps[0].tmpfs: must be a list, not a string (write it as a list: [/tmp])`},
	{"tmpfs-twice", semantics, `5:13: steps[0].tmpfs[0]: /tmp is already mounted at line 4`},
	{"too-many-steps", semantics, `1:1: the file has 1001 steps and services, more than the 1000 allowed`},
	{"top-level-list", structure, `1:1: must be a map, not a list (a pipeline file begins with the key steps, and the list stands below that)`},
	{"top-level-string", structure, `1:1: must be a map, not a string`},
	{"trailing-separator", syntax, `4:1: the file has more than one document (a pipeline file is one document; remove the --- or split the file)`},
	{"tty-stdin", semantics, `4:5: steps[0].tty: cannot be combined with a file as stdin (a terminal is the input, too)`},
	{"tty-string", structure, `4:10: steps[0].tty: must be true or false, not a string (write true or false, without quotes)`},
	{"two-documents", syntax, `4:1: the file has more than one document (a pipeline file is one document; remove the --- or split the file)`},
	{"uidmap-alone", structure, `4:5: steps[0].uidmap: needs gidmap (a user namespace maps both)`},
	{"ulimit-half", structure, `4:23: steps[0].ulimits.nofile.hard: is required`},
	{"ulimit-order", semantics, `4:23: steps[0].ulimits.nofile: the soft limit is higher than the hard one
4:37: steps[0].ulimits.core: the soft limit is higher than the hard one`},
	{"ulimit-text", structure, `4:23: steps[0].ulimits.nofile: "many" is not a limit (write a whole number, or unlimited)
4:35: steps[0].ulimits.core: "1.5" is not a limit (write a whole number, or unlimited)
4:45: steps[0].ulimits.cpu: must be a number, soft:hard or a map, not a boolean`},
	{"ulimit-unknown", structure, `4:15: steps[0].ulimits.nofiles: unknown limit (did you mean "nofile"?)`},
	{"ulimits-list", structure, `4:14: steps[0].ulimits: must be a map, not a list`},
	{"undefined-alias", syntax, `4:11: not valid YAML: no anchor &nobody stands before the alias *nobody (put &nobody before the value that is meant, or quotes around the text)`},
	{"unknown-step-key-in-map", structure, `2:36: steps."build and test".enviroment: unknown key (did you mean "environment"?)`},
	{"unknown-step-key", structure, `4:5: steps[0].comands: unknown key (did you mean "commands"?)`},
	{"unknown-tag", syntax, `4:11: tag "!vault" is not supported (remove it)`},
	{"unknown-top-key-far", structure, `1:1: zzzzzz: unknown key (keys of your own, such as for anchors, begin with x-)`},
	{"unknown-top-key", structure, `1:1: stesp: unknown key (did you mean "steps"?)`},
	{"user-null", structure, `4:10: steps[0].user: must be a string, not null (give it a value or remove the key)`},
	{"user-space", structure, `4:11: steps[0].user: "a b" is not valid (write a name or a uid, and after a colon a group or a gid)`},
	{"user-three", structure, `4:11: steps[0].user: "1:2:3" is not valid (write a name or a uid, and after a colon a group or a gid)`},
	{"utf16", syntax, `1:1: the file is not UTF-8 text (save it as UTF-8)`},
	{"volume-map", structure, `4:15: steps[0].volumes[0]: must be a string, not a map`},
	{"volume-mode", structure, `4:15: steps[0].volumes[0]: unknown option "x" of a volume (there are "ro", "rw", "rshared", "shared", "rslave", "slave", "rprivate", "private", "nosuid", "nodev" or "noexec"; z, Z, cached, delegated, consistent and nocopy have no effect)`},
	{"volume-no-source", structure, `4:15: steps[0].volumes[0]: the mount has no source (write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro)`},
	{"volume-one-part", structure, `4:15: steps[0].volumes[0]: "a" is not a volume (write it like /etc:/host-etc or /etc:/host-etc:ro)`},
	{"volume-relative", structure, `4:15: steps[0].volumes[0]: the path "b" in the container is not absolute (begin it with /)`},
	{"volumes-map", structure, `1:10: volumes: must be a list, not a map`},
	{"volumes-names", structure, `1:11: volumes[0]: "a/b" is not valid (letters, digits and any of _ . -, at most 100, with a letter or digit first)
1:16: volumes[1]: must not be empty (give it a value or remove the key)
1:31: volumes[3]: the volume "x" is listed twice
1:34: volumes[4].name: is required
1:38: volumes[5].name: is required
1:39: volumes[5].nmae: unknown key (did you mean "name"?)`},
	{"when-empty-list", structure, `4:11: steps[0].when: must not be empty (without any condition the step runs on success)`},
	{"when-evaluate", semantics, `4:22: steps[0].when.evaluate: not a condition: unexpected token EOF (column 10) (see docs/pipeline.md for the names it may use)`},
	{"when-evaluate-bool", structure, `4:22: steps[0].when.evaluate: must be a string, not a boolean (put it in quotes)`},
	{"when-evaluate-name", semantics, `4:22: steps[0].when.evaluate: not a condition: unknown name brnach (column 1) (see docs/pipeline.md for the names it may use)`},
	{"when-evaluate-number", semantics, `4:22: steps[0].when.evaluate: not a condition: expected bool, but got int (see docs/pipeline.md for the names it may use)`},
	{"when-item", structure, `4:12: steps[0].when[0]: must be a map, not a string`},
	{"when-match-empty", structure, `4:19: steps[0].when.event: must not be empty (give it include, exclude or both)
4:29: steps[0].when.path: must not be empty (give it include, exclude or both)`},
	{"when-match-key", structure, `4:21: steps[0].when.branch.includes: unknown key (did you mean "include"?)`},
	{"when-match-null", structure, `4:17: steps[0].when.tag: must be a string or a list of strings, not null (give it a value or remove the key)`},
	{"when-matrix-list", structure, `4:20: steps[0].when.matrix: must be a map, not a list`},
	{"when-path-on-empty", structure, `4:41: steps[0].when.path.on_empty: must be true or false, not a number`},
	{"when-pattern", semantics, `4:20: steps[0].when.branch: "feature/[a" is not a pattern (the characters *, ?, [, ] and { are special; put \ in front of one that stands for itself)`},
	{"when-pattern-long", semantics, `4:17: steps[0].when.ref: the braces of the pattern stand for more than the 256 patterns allowed (write a list of patterns)`},
	{"when-status-always-in-list", structure, `4:21: steps[0].when.status[0]: must be "success" or "failure", not "always"`},
	{"when-status-empty", structure, `4:20: steps[0].when.status: must not be empty (give it a value or remove the key)`},
	{"when-string", structure, `4:11: steps[0].when: must be a map or a list, not a string`},
	{"when-unknown", structure, `4:12: steps[0].when.brnach: unknown key (did you mean "branch"?)`},
	{"workspace-proc", structure, `1:12: workspace: nothing can be mounted at "/sys/../proc": /proc and /sys belong to the kernel`},
	{"workspace-relative", structure, `1:12: workspace: the path "src" in the container is not absolute (begin it with /)`},
	{"workspace-root", structure, `1:12: workspace: nothing can be mounted at / of the container (use image: rootfs:DIR to run in a directory)`},
	{"yaml-dedent", syntax, `3:2: not valid YAML: this line begins in column 2, but the lines it could belong to begin in column 1 or 3 (begin the items of one list, and the keys of one map, in the same column)`},
	{"yaml-list-in-map", syntax, `4:1: not valid YAML: this item of a list stands among the keys of a map (begin the items of one list, and the keys of one map, in the same column)`},
	{"yaml-open-quote", syntax, `4:11: not valid YAML: the quote " is not closed (close it, or put the whole text in the other kind of quotes)`},
	{"yaml-open-quote-list", syntax, `6:9: not valid YAML: the quote ' is not closed (close it, or put the whole text in the other kind of quotes)`},
	{"yaml-open-quote-middle", syntax, `3:12: not valid YAML: the quote ' is not closed (close it, or put the whole text in the other kind of quotes)`},
	{"yaml-reserved", syntax, `4:11: not valid YAML: a text without quotes cannot begin with @ in YAML (put the text in quotes: '@abc')`},
	{"yaml-two-colons", syntax, `2:3: not valid YAML: this line is indented deeper than the key above, which has a value already (begin the keys of one map in the same column, and put a text with a colon in quotes)`},
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
