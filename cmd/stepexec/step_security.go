package main

import (
	"fmt"
	"strings"
)

// securityOption parses a value of docker's and podman's --security-opt, with = or, in docker's old
// form, with a colon.
func (k *stepKeys) securityOption(value string) error {
	const flag = "--security-opt"
	name, text := value, ""
	if i := strings.IndexAny(value, "=:"); i >= 0 {
		name, text = value[:i], value[i+1:]
	}
	switch {
	case name == "seccomp" && text == "builtin": // docker's word for its default profile
		k.set(flag, "seccomp", "default")
	case name == "seccomp" && text != "", name == "apparmor" && text != "":
		k.set(flag, name, text)
	case name == "no-new-privileges" && (text == "" || text == "true"):
		k.set(flag, "allow_new_privileges", false)
	case name == "no-new-privileges" && text == "false":
		k.set(flag, "allow_new_privileges", true)
	case name == "systempaths" && text == "unconfined", name == "unmask" && strings.EqualFold(text, "all"):
		k.set(flag, "unmask", true)
	case name == "unmask":
		return fmt.Errorf("unmask=%s: single paths cannot be shown (write unmask=ALL)", text)
	case name == "label": // for SELinux, which does not confine containers here
	default:
		return fmt.Errorf("%q is not supported (there are seccomp=PROFILE, apparmor=PROFILE, no-new-privileges[=false], systempaths=unconfined, unmask=ALL and label=…, which has no effect)", name)
	}
	return nil
}
