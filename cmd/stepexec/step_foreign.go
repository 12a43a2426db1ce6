package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
)

// foreignFlag is a flag of docker run, podman run or nerdctl run that is not a key of a step:
// people who type it from habit get its meaning, or learn what to use instead.
type foreignFlag struct {
	name, short string
	alone       bool // whether it can stand without a value
	take        func(k *stepKeys, flag, value string) error
}

// addForeign adds the flags of other programs that the command does not have itself. They are not
// in its help: docs/step.md lists them.
func (k *stepKeys) addForeign(flags *pflag.FlagSet) {
	for _, f := range foreignFlags() {
		if flags.Lookup(f.name) != nil {
			continue
		}
		flags.FuncP(f.name, f.short, "see docs/step.md", func(value string) error { return f.take(k, "--"+f.name, value) })
		added := flags.Lookup(f.name)
		added.Hidden = true
		if f.alone {
			added.NoOptDefVal = "true"
		}
	}
}

func foreignFlags() []foreignFlag {
	return slices.Concat(otherSpellings(), namespaceFlags(), flagsWithoutEffect(), refusedFlags())
}

// otherSpellings returns flags that set a key under another name.
func otherSpellings() []foreignFlag {
	list := func(key string) func(*stepKeys, string, string) error {
		return func(k *stepKeys, flag, value string) error {
			k.set(flag, key, []string{value})
			return nil
		}
	}
	return []foreignFlag{
		{name: "net", take: func(k *stepKeys, _, value string) error { return k.network(value) }},
		{name: "dns-opt", take: list("dns_options")},
		{name: "net-alias", take: list("aliases")},
		{name: "attach", short: "a", take: func(k *stepKeys, _, value string) error {
			switch strings.ToLower(value) {
			case "stdin":
				k.set("--attach", "stdin", pipeline.StdinInherited)
			case "stdout", "stderr": // these are always attached
			default:
				return errors.New("there are stdin, stdout and stderr")
			}
			return nil
		}},
	}
}

// hostNamespace is the folder of stepexec's own namespaces, which are the host's, for steps that
// join them.
const hostNamespace = "/proc/self/ns/"

// namespaceFlags returns the flags that choose between the command's own namespaces, which are the
// default, and others.
func namespaceFlags() []foreignFlag {
	choose := func(kind string, own ...string) func(*stepKeys, string, string) error {
		return func(k *stepKeys, flag, value string) error {
			path, isPath := strings.CutPrefix(value, "ns:")
			switch {
			case value == "", value == "private", slices.Contains(own, value):
			case value == "host":
				k.set(flag, "namespaces", []pipeline.Pair{{Key: kind, Value: hostNamespace + kind}})
			case isPath:
				k.set(flag, "namespaces", []pipeline.Pair{{Key: kind, Value: path}})
			default:
				return refusal{fmt.Sprintf("%q: there are no other containers to join (there are private, host and ns:PATH)", value)}
			}
			return nil
		}
	}
	return []foreignFlag{
		{name: "ipc", take: choose("ipc", "shareable")},
		{name: "pid", take: choose("pid")},
		{name: "uts", take: choose("uts")},
		{name: "cgroupns", take: choose("cgroup")},
		{name: "userns", take: only("host", "a user namespace is made by --uidmap and --gidmap; to be who you are write --user $(id -u):$(id -g)")},
	}
}

// flagsWithoutEffect returns flags for things that are the case anyway, or that have no meaning
// here, which is then noted.
func flagsWithoutEffect() []foreignFlag {
	health := func(k *stepKeys, _, _ string) error {
		k.note("--health-… has no effect: nothing waits for the health of a command (a service of a pipeline has ready)")
		return nil
	}
	logged := "the command's output goes to standard output, and to the record of the run (see stepexec logs; --log-uri file:///PATH is another place)"
	soft := note("there is no such soft limit here (--memory is the hard one)")
	return []foreignFlag{
		{name: "restart", take: only("no", "a command runs once (in a pipeline file: retry)")},
		{name: "disable-content-trust", alone: true, take: accepted},
		{name: "sig-proxy", alone: true, take: only("true", "signals are always passed on")},
		{name: "detach-keys", take: note("a terminal is not left while the command runs (start it with --detach)")},
		{name: "expose", take: accepted}, // it documents ports, as in an image
		{name: "volume-driver", take: only("local", "there are no drivers: volumes are folders of the host")},
		{name: "isolation", take: only("default", "that is a choice on Windows")},
		{name: "log-driver", take: note(logged)},
		{name: "log-opt", take: note(logged)},
		{name: "health-cmd", take: health},
		{name: "health-interval", take: health},
		{name: "health-timeout", take: health},
		{name: "health-retries", take: health},
		{name: "health-start-period", take: health},
		{name: "health-start-interval", take: health},
		{name: "health-on-failure", take: health},
		{name: "no-healthcheck", alone: true, take: accepted},
		{name: "oom-score-adj", take: note("all of a command out of memory is killed together, whatever the score")},
		{name: "memory-reservation", take: soft},
		{name: "memory-swappiness", take: note("the host decides when memory is swapped out (--memory-swap limits how much)")},
		{name: "kernel-memory", take: note("the kernel has no such limit any more: --memory counts its memory too")},
		{name: "stop-timeout", take: note("the job decides how long its containers have to stop")}, // step has its own
		{name: "quiet", short: "q", alone: true, take: accepted},                                   // step has its own
		{name: "cidfile", take: note("no file is written: the runner knows its containers")},       // step has its own
		// podman's and nerdctl's
		{name: "replace", alone: true, take: accepted},
		{name: "rmi", alone: true, take: note("images stay in the store (stepexec rmi removes them)")},
		{name: "cgroups", take: only("enabled", "a command always has a cgroup")},
		{name: "systemd", take: only("false", "systemd cannot be the command: what it needs of cgroups and mounts is not made for it")},
		{name: "http-proxy", alone: true, take: only("false", "write which variables the command gets: -e http_proxy -e https_proxy -e no_proxy")},
		{name: "read-only-tmpfs", alone: true, take: note("with --read-only write --tmpfs for each place that is to be writable")},
		{name: "no-hosts", alone: true, take: note("/etc/hosts is always written")},
		{name: "no-hostname", alone: true, take: note("/etc/hostname is always written")},
		{name: "passwd", alone: true, take: only("false", "the image's /etc/passwd stays as it is")},
	}
}

// refusedFlags returns flags that are not supported. The error says what to do.
func refusedFlags() []foreignFlag {
	io := "the kernel's weight --blkio-weight is the only limit of input and output"
	address := "the network of a run chooses its own addresses (names lead to them: --network-alias, --add-host)"
	registry := "registries are set up in the settings file, see docs/registries.md"
	realtime := "there is no real-time scheduling here: see --cpus and --cpu-shares"
	return []foreignFlag{
		{name: "link", take: refused("there are no other containers to reach: write a pipeline with services")},
		{name: "volumes-from", take: refused("there are no other containers: write a pipeline with volumes, or --volume")},
		{name: "publish-all", short: "P", alone: true, take: refused("write each port: --publish PORT, or --publish 0:PORT for a free one of the host")},
		{name: "ip", take: refused(address)}, {name: "ip6", take: refused(address)},
		{name: "mac-address", take: refused(address)}, {name: "link-local-ip", take: refused(address)},
		{name: "domainname", take: refused("write the whole name: --hostname NAME.DOMAIN")},
		{name: "storage-opt", take: refused("the root file system has no size of its own: it shares the disk of --root")},
		{name: "device-cgroup-rule", take: refused("write the devices themselves: --device SRC[:DST][:rwm]")},
		{name: "device-read-bps", take: refused(io)}, {name: "device-write-bps", take: refused(io)},
		{name: "device-read-iops", take: refused(io)}, {name: "device-write-iops", take: refused(io)},
		{name: "blkio-weight-device", take: refused(io)},
		{name: "cpu-rt-period", take: refused(realtime)}, {name: "cpu-rt-runtime", take: refused(realtime)},
		{name: "oom-kill-disable", alone: true, take: refused("a command without memory would hang for ever")},
		{name: "label-file", take: refused("write each label: --label NAME=VALUE")},
		{name: "use-api-socket", alone: true, take: refused("there is no daemon to talk to (the socket of docker is mounted by -v /var/run/docker.sock:/var/run/docker.sock)")},
		// podman's and nerdctl's
		{name: "pod", take: refused("there are no pods: write a pipeline with services")},
		{name: "env-host", alone: true, take: refused("write which variables the command gets: -e NAME")},
		{name: "unsetenv", take: refused("write -e NAME= for an empty one")},
		{name: "unsetenv-all", alone: true, take: refused("write env -i in front of the command")},
		{name: "tz", take: refused("write -e TZ=ZONE, for images that have the zones")},
		{name: "umask", take: refused("write it in the command: sh -c 'umask 077; …'")},
		{name: "arch", take: refused("write --platform linux/ARCH")},
		{name: "os", take: refused("write --platform OS/ARCH")},
		{name: "variant", take: refused("write --platform linux/ARCH/VARIANT")},
		{name: "creds", take: refused("log in with docker login, podman login or skopeo login: the credentials are found")},
		{name: "authfile", take: refused("write REGISTRY_AUTH_FILE=FILE in front of stepexec")},
		{name: "tls-verify", alone: true, take: refused(registry)},
		{name: "cert-dir", take: refused(registry)},
		{name: "insecure-registry", alone: true, take: refused(registry)},
		{name: "preserve-fds", take: refused("files are passed by --mount, and by standard input: -i")},
		{name: "hooks-dir", take: refused("hooks of the runtime are part of a specification: --config")},
		{name: "cgroup-conf", take: refused("see --memory, --cpus, --pids-limit and --blkio-weight")},
		{name: "pidfile", take: refused("write --pid-file FILE")},
		{name: "conmon-pidfile", take: refused("nothing watches the command but stepexec itself: see --pid-file")},
	}
}

func accepted(*stepKeys, string, string) error { return nil }

// note accepts any value, and says why the flag has no effect.
func note(why string) func(*stepKeys, string, string) error {
	return func(k *stepKeys, flag, value string) error {
		if value != "false" {
			k.note(flag + " has no effect: " + why)
		}
		return nil
	}
}

// only accepts the value that describes the usual behaviour.
func only(usual, why string) func(*stepKeys, string, string) error {
	return func(_ *stepKeys, _, value string) error {
		if value == "" || value == usual {
			return nil
		}
		return refusal{fmt.Sprintf("%s: not supported: %s", value, why)}
	}
}

func refused(why string) func(*stepKeys, string, string) error {
	return func(_ *stepKeys, _, value string) error { return refusal{"not supported: " + why} }
}

// refusal says why a flag, or a value of it, is not supported.
type refusal struct{ why string }

func (r refusal) Error() string { return r.why }
