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

// stepKeys are the flags of `stepexec step` that are keys of a step in a pipeline file: package
// pipeline reads and checks both in one place.
type stepKeys struct {
	given []pipeline.Flag
	notes []string // parts of the flags that have no effect, one line each
}

// note records that part of a flag's value has no effect here.
func (k *stepKeys) note(line string) {
	if !slices.Contains(k.notes, line) {
		k.notes = append(k.notes, line)
	}
}

// has reports whether a key is set.
func (k *stepKeys) has(key string) bool {
	return slices.ContainsFunc(k.given, func(f pipeline.Flag) bool { return f.Key == key })
}

// set records the value of a key. For texts, numbers and booleans the last value counts; lists and
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

// add adds the flags to those of a command.
func (k *stepKeys) add(flags *pflag.FlagSet) {
	flags.Func("name", "`NAME` of the step in messages", func(value string) error {
		k.set("--name", "name", value)
		return nil
	})
	special := map[string]func(string) error{"network": k.network, "publish": k.publish, "pull": k.pull, "volume": k.volume, "mount": k.mount, "config": k.config}
	for _, key := range pipeline.Keys() {
		for _, f := range key.Flags {
			put := func(value string) error { return k.put(key.Name, f, value) }
			if special[f.Name] != nil {
				put = special[f.Name]
			}
			if f.Kind == pipeline.ToggleFlag {
				flags.BoolFuncP(f.Name, f.Short, f.Usage, put)
			} else {
				flags.FuncP(f.Name, f.Short, f.Usage, put)
			}
		}
	}
	k.addShorthands(flags)
}

// config takes the file of a specification, for which -c stands in ctr, or a weight of CPU, for which
// it stands in docker. A file whose name is a number is written ./NUMBER.
func (k *stepKeys) config(value string) error {
	if _, err := strconv.ParseUint(value, 10, 32); err != nil {
		return k.put("spec", pipeline.KeyFlag{Name: "config"}, value)
	}
	return k.put("cpu_shares", pipeline.KeyFlag{Name: "cpu-shares", Kind: pipeline.NumberFlag}, value)
}

// put records the value of a flag that sets a key.
func (k *stepKeys) put(key string, f pipeline.KeyFlag, value string) error {
	var v any = value
	switch f.Kind {
	case pipeline.SizeFlag, pipeline.NumberFlag:
		if value == "0" || value == "-1" && f.Kind == pipeline.NumberFlag {
			k.unset(key)
			return nil
		}
		if f.Kind == pipeline.NumberFlag {
			if strings.HasPrefix(value, ".") { // --cpus .5
				value = "0" + value
			}
			v = pipeline.Number(value)
		}
	case pipeline.ToggleFlag:
		on, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		v = on
	case pipeline.ListFlag:
		v = []string{value}
	case pipeline.CommaFlag:
		v = strings.Split(value, ",")
	case pipeline.PairFlag, pipeline.ColonFlag:
		separator := "="
		if f.Kind == pipeline.ColonFlag {
			separator = ":"
		}
		name, text, _ := strings.Cut(value, separator)
		v = []pipeline.Pair{{Key: name, Value: text}}
	}
	k.set("--"+f.Name, key, v)
	return nil
}

// addShorthands adds the flags that stand for a value of another flag.
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
	stands("net-host", "", "same as --network host, which is the default", "network", "host")
	stands("cni", "", "same as --network private", "network", "private")
	stands("null-io", "", "discard the command's output", "output", pipeline.OutputNone)
	stands("interactive", "i", "pass standard input to the command (default: its input is empty)", "stdin", pipeline.StdinInherited)
	flags.Func("log-uri", "append the command's output to a file, given as `file:///PATH`", func(value string) error {
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "file" || u.Path == "" || u.Host != "" {
			return fmt.Errorf("it must be file:///PATH: nothing else takes logs here")
		}
		k.set("--log-uri", "output", "file:"+u.Path)
		return nil
	})
	flags.Func("seccomp", "same as --seccomp-profile; without a value: `default`, which is on anyway", func(value string) error {
		k.set("--seccomp", "seccomp", value)
		return nil
	})
	flags.Lookup("seccomp").NoOptDefVal = "default" // ctr's flag is a switch
	flags.Func("security-opt", "security `OPTION` as in docker: seccomp=PROFILE, apparmor=PROFILE, no-new-privileges[:false] or systempaths=unconfined", k.securityOption)
}
