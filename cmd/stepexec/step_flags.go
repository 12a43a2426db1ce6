package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
)

// stepKeys are the flags of `stepexec step` that are keys of a step in a pipeline
// file: package pipeline reads and checks both in one place.
type stepKeys struct{ given []pipeline.Flag }

// set notes the value of a key. The last text, number or boolean counts; lists and
// maps grow.
func (k *stepKeys) set(flag, key string, value any) {
	i := slices.IndexFunc(k.given, func(f pipeline.Flag) bool { return f.Key == key })
	if i < 0 {
		k.given = append(k.given, pipeline.Flag{Name: flag, Key: key, Value: value})
		return
	}
	switch more := value.(type) {
	case []string:
		value = append(k.given[i].Value.([]string), more...)
	case []pipeline.Pair:
		value = append(k.given[i].Value.([]pipeline.Pair), more...)
	}
	k.given[i] = pipeline.Flag{Name: flag, Key: key, Value: value}
}

func (k *stepKeys) unset(key string) {
	k.given = slices.DeleteFunc(k.given, func(f pipeline.Flag) bool { return f.Key == key })
}

// flagKind says what the value of a flag becomes.
type flagKind int

const (
	text      flagKind = iota
	size               // 0: none, as for ctr and docker
	number             // 0 and -1: none, as for ctr and docker
	toggle             // true or false
	list               // one item a flag
	commaList          // items between commas
	pairs              // NAME=VALUE
	colonPair          // NAME:VALUE
)

// stepFlag is a flag that is a key of a step.
type stepFlag struct {
	name, short, key string
	kind             flagKind
	usage            string
}

// stepFlags have the names of ctr's flags, and of docker's where that is another.
func stepFlags() []stepFlag {
	return []stepFlag{
		{"name", "", "name", text, "`NAME` of the step, in messages"},
		{"user", "u", "user", text, "`USER[:GROUP]`, names or numbers, in place of the image's"},
		{"cwd", "", "directory", text, "working `directory`, made when missing"},
		{"workdir", "w", "directory", text, "working `directory`, like --cwd"},
		{"keep", "", "keep", toggle, "keep the root file system after the run, for stepexec shell"},
		{"pull", "", "pull", text, "`when` to pull the image: always, missing or never"},

		{"mount", "", "mounts", list, "`type=bind,src=PATH,dst=PATH,options=rbind:ro`, or type=tmpfs"},
		{"volume", "v", "volumes", list, "bind mount `SRC:DST[:ro]`"},
		{"tmpfs", "", "tmpfs", list, "empty memory at `PATH[:OPTIONS]`"},
		{"read-only", "", "read_only", toggle, "make the root file system read-only"},

		{"network", "", "network", text, "`NETWORK`: host, none or private"},
		{"hostname", "", "hostname", text, "`NAME` of the host, as the command sees it"},
		{"dns", "", "dns", list, "name server's `ADDRESS`"},
		{"dns-search", "", "dns_search", list, "`DOMAIN` that names are looked for in"},
		{"dns-option", "", "dns_options", list, "`OPTION` of resolv.conf(5)"},
		{"add-host", "", "extra_hosts", list, "`NAME:ADDRESS` for /etc/hosts"},
		{"publish", "p", "ports", list, "`[ADDRESS:]HOST:CONTAINER[/PROTOCOL]`: a port of the host that leads to the command; needs --network private"},

		{"cpus", "", "cpus", number, "limit: `N` CPUs, such as 1.5"},
		{"cpu-quota", "", "cpu_quota", number, "limit: `N` microseconds of CPU in each --cpu-period"},
		{"cpu-period", "", "cpu_period", number, "`N` microseconds (default 100000)"},
		{"cpu-shares", "", "cpu_shares", number, "weight `N` among others; 1024 is usual"},
		{"cpuset-cpus", "", "cpuset_cpus", text, "CPUs to run on, a `LIST` such as 0-3,8"},
		{"cpuset-mems", "", "cpuset_mems", text, "memory nodes to use, a `LIST`"},
		{"memory", "m", "memory", size, "limit: `SIZE` such as 512MiB"},
		{"memory-limit", "", "memory", size, "limit: `BYTES`, like --memory"},
		{"memory-swap", "", "memory_swap", size, "limit of memory and swap together: `SIZE`, or -1"},
		{"pids-limit", "", "pids", number, "limit: `N` processes and threads"},
		{"blkio-weight", "", "io_weight", number, "weight `N` among others, 10 to 1000"},
		{"pids", "", "pids", number, "limit: `N`, like --pids-limit"},
		{"io-weight", "", "io_weight", number, "weight `N`, like --blkio-weight"},
		{"shm-size", "", "shm_size", size, "`SIZE` of /dev/shm"},
		{"ulimit", "", "ulimits", pairs, "`NAME=SOFT[:HARD]`, such as nofile=1024"},

		{"privileged", "", "privileged", toggle, "all rights on the host"},
		{"allow-new-privs", "", "allow_new_privileges", toggle, "let setuid programs work"},
		{"cap-add", "", "cap_add", list, "add `CAPABILITY`, or ALL"},
		{"cap-drop", "", "cap_drop", list, "take away `CAPABILITY`, or ALL"},
		{"seccomp-profile", "", "seccomp", text, "`PROFILE`: default, unconfined, or a file in docker's form"},
		{"apparmor", "", "apparmor", text, "loaded `PROFILE`, or unconfined"},
		{"apparmor-profile", "", "apparmor", text, "`PROFILE`, like --apparmor"},
		{"apparmor-default-profile", "", "apparmor", text, "`PROFILE`, like --apparmor: it must be loaded"},
		{"device", "", "devices", list, "`SRC[:DST][:rwm]`, a node or a directory of the host, or a CDI name"},
		{"gpus", "", "gpus", commaList, "`all`, or numbers or UUIDs of GPUs"},
		{"uidmap", "", "uidmap", list, "`CONTAINER:HOST:SIZE` user ids of a user namespace"},
		{"gidmap", "", "gidmap", list, "`CONTAINER:HOST:SIZE` group ids of a user namespace"},

		{"tty", "t", "tty", toggle, "a terminal for all three streams"},
		{"workspace-owner", "", "workspace_owner", text, "`UID:GID`, or me, that gets what the command makes as root in --workspace"},
		{"label", "l", "labels", pairs, "`NAME=VALUE`, an OCI annotation"},
		{"annotation", "", "labels", pairs, "`NAME=VALUE`, like --label"},
		{"with-ns", "", "namespaces", colonPair, "join the namespace `TYPE:PATH`, such as network:/run/netns/a"},
		{"cgroup", "", "cgroup_parent", text, "`PATH` of the cgroup that the command's own is made in"},
		{"cgroup-parent", "", "cgroup_parent", text, "`PATH`, like --cgroup"},
		{"config", "c", "spec", text, "OCI runtime specification `FILE` to use as it is"},
	}
}

// add adds the flags to a command's.
func (k *stepKeys) add(flags *pflag.FlagSet) {
	for _, f := range stepFlags() {
		if f.kind == toggle {
			flags.BoolFuncP(f.name, f.short, f.usage, func(value string) error { return k.put(f, value) })
		} else {
			flags.FuncP(f.name, f.short, f.usage, func(value string) error { return k.put(f, value) })
		}
	}
	k.addShorthands(flags)
}

func (k *stepKeys) put(f stepFlag, value string) error {
	var v any = value
	switch f.kind {
	case size, number:
		if value == "0" || value == "-1" && f.kind == number {
			k.unset(f.key)
			return nil
		}
		if f.kind == number {
			v = pipeline.Number(value)
		}
	case toggle:
		on, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		v = on
	case list:
		v = []string{value}
	case commaList:
		v = strings.Split(value, ",")
	case pairs, colonPair:
		separator := "="
		if f.kind == colonPair {
			separator = ":"
		}
		name, text, _ := strings.Cut(value, separator)
		v = []pipeline.Pair{{Key: name, Value: text}}
	}
	k.set("--"+f.name, f.key, v)
	return nil
}

// addShorthands adds the flags that stand for a value of another.
func (k *stepKeys) addShorthands(flags *pflag.FlagSet) {
	stands := func(name, short, usage, key, value string) {
		flags.BoolFuncP(name, short, usage, func(given string) error {
			on, err := strconv.ParseBool(given)
			if on {
				k.set("--"+name, key, value)
			}
			return err
		})
	}
	stands("net-host", "", "--network host, which is the default", "network", "host")
	stands("cni", "", "--network private", "network", "private")
	stands("null-io", "", "throw away what the command prints", "output", pipeline.OutputNone)
	stands("interactive", "i", "pass on standard input, which is empty otherwise", "stdin", pipeline.StdinInherited)
	flags.Func("log-uri", "append what the command prints to the file of `file:///PATH`", func(value string) error {
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "file" || u.Path == "" || u.Host != "" {
			return fmt.Errorf("it must be file:///PATH: nothing else takes logs here")
		}
		k.set("--log-uri", "output", "file:"+u.Path)
		return nil
	})
	flags.Func("seccomp", "like --seccomp-profile; alone it is `default`, which is on anyway", func(value string) error {
		k.set("--seccomp", "seccomp", value)
		return nil
	})
	flags.Lookup("seccomp").NoOptDefVal = "default" // ctr's is a switch
	flags.Func("security-opt", "docker's `OPTION`: seccomp=PROFILE, apparmor=PROFILE or no-new-privileges[:false]", k.securityOption)
}

func (k *stepKeys) securityOption(value string) error {
	const flag = "--security-opt"
	name, text, _ := strings.Cut(value, "=")
	switch {
	case name == "seccomp" && text != "", name == "apparmor" && text != "":
		k.set(flag, name, text)
	case value == "no-new-privileges", value == "no-new-privileges:true", value == "no-new-privileges=true":
		k.set(flag, "allow_new_privileges", false)
	case value == "no-new-privileges:false", value == "no-new-privileges=false":
		k.set(flag, "allow_new_privileges", true)
	default:
		return fmt.Errorf("it must be seccomp=PROFILE, apparmor=PROFILE or no-new-privileges[:false]")
	}
	return nil
}
