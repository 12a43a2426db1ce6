package main

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
)

var secretFlag = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*)(?:([=,])(?s:(.*)))?$`)
})

// stepSecrets parses NAME, NAME=VALUE, or podman's NAME,type=env|mount,target=T. The errors never
// show text that may be a value.
func stepSecrets(given []string) (map[string]string, []pipeline.SecretUse, error) {
	secrets := map[string]string{}
	var uses []pipeline.SecretUse
	for _, text := range given {
		parts := secretFlag().FindStringSubmatch(text)
		if parts == nil {
			return nil, nil, fmt.Errorf("--secret: the name of a secret has letters, digits and any of _ . - (write NAME, NAME=VALUE or NAME,type=env,target=VARIABLE)")
		}
		name, value := parts[1], []string{parts[1]}
		use := pipeline.SecretUse{Position: pipeline.Position{Key: "--secret"}, Name: name}
		switch parts[2] {
		case "=":
			value = []string{text}
			use.File = path.Join(pipeline.SecretDirectory, name)
		default:
			if err := secretTarget(&use, parts[3]); err != nil {
				return nil, nil, err
			}
		}
		entries, err := variables("--secret", value)
		if err != nil {
			return nil, nil, err
		}
		_, secrets[name], _ = strings.Cut(entries[0], "=")
		uses = append(uses, use)
	}
	return secrets, uses, nil
}

var secretFileName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\.?[A-Za-z0-9_][A-Za-z0-9_.-]*$`) })

// secretTarget parses the options after the name, which say where the secret goes.
func secretTarget(use *pipeline.SecretUse, options string) error {
	kind, target := "mount", use.Name
	for option := range strings.SplitSeq(options, ",") {
		switch key, text, _ := strings.Cut(option, "="); {
		case option == "":
		case key == "type" && (text == "env" || text == "mount"):
			kind = text
		case key == "target" && text != "" && !strings.Contains(text, "="):
			target = text
		default:
			return fmt.Errorf("--secret %s: behind the name there can be type=env, type=mount and target=", use.Name)
		}
	}
	if kind == "env" {
		use.Env = target
		return nil
	}
	file := strings.TrimPrefix(target, pipeline.SecretDirectory+"/")
	if !secretFileName().MatchString(file) {
		return fmt.Errorf("--secret %s: %q is not directly below %s (write a plain file name)", use.Name, target, pipeline.SecretDirectory)
	}
	use.File = path.Join(pipeline.SecretDirectory, file)
	return nil
}
