package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The options of mount(8) and of the OCI runtime specification that make sense
// for a mount of a step. Anything else would reach the kernel as file system data
// and fail there with a bare "invalid argument".
var (
	commonOptions = []string{
		"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "sync", "async", "dirsync",
		"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
		"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable",
	}
	bindOptions      = []string{"bind", "rbind", "rro"}
	tmpfsOptionNames = []string{"size=", "mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks="}
)

// tmpfsOptions are the forms of what these options are set to.
var tmpfsOptions = sync.OnceValue(func() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{
		"size":      regexp.MustCompile(`^[0-9]+[kKmMgG%]?$`),
		"mode":      regexp.MustCompile(`^0?[0-7]{1,4}$`),
		"uid":       regexp.MustCompile(`^[0-9]{1,10}$`),
		"gid":       regexp.MustCompile(`^[0-9]{1,10}$`),
		"nr_inodes": regexp.MustCompile(`^[0-9]+[kKmMgG]?$`),
		"nr_blocks": regexp.MustCompile(`^[0-9]+[kKmMgG]?$`),
	}
})

func checkOptions(mountType string, options []string) error {
	if slices.Contains(options, "ro") && slices.Contains(options, "rw") {
		return &Error{Message: "the options ro and rw exclude each other"}
	}
	for _, option := range options {
		if err := checkOption(mountType, option); err != nil {
			return err
		}
	}
	return nil
}

func checkOption(mountType, option string) error {
	if slices.Contains(commonOptions, option) || mountType == "bind" && slices.Contains(bindOptions, option) {
		return nil
	}
	known := commonOptions
	switch mountType {
	case "bind":
		known = slices.Concat(commonOptions, bindOptions)
	case "tmpfs":
		name, text, _ := strings.Cut(option, "=")
		if form, isKnown := tmpfsOptions()[name]; isKnown {
			if form.MatchString(text) {
				return nil
			}
			return &Error{Message: fmt.Sprintf("%q is not valid for the mount option %s", text, name)}
		}
		known = slices.Concat(commonOptions, tmpfsOptionNames)
	}
	return &Error{Message: fmt.Sprintf("unknown option %q of a %s mount", option, mountType), Hint: didYouMean(optionName(option), known)}
}

// optionName is what stands in front of an option's value, with the = sign.
func optionName(option string) string {
	name, _, hasValue := strings.Cut(option, "=")
	if hasValue {
		return name + "="
	}
	return name
}
