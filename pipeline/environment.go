package pipeline

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
)

// environment reads a map from names to scalars or secrets, or a list.
func (r *reader) environment(v value) []Variable {
	if v.kind == listKind {
		return r.environmentList(v)
	}
	if v.kind != mapKind {
		r.wrongType(v, "a map or a list")
		return nil
	}
	var variables []Variable
	for _, p := range v.pairs {
		field := v.field(p)
		if err := checkVariable(p.name); err != nil {
			r.misplaced(field, err.Error(), "")
		}
		variables = append(variables, Variable{Position: field.position(), Name: p.name, Value: r.variable(field)})
	}
	return variables
}

// environmentList reads items of NAME=value, or NAME for the host's value. The host
// is asked in this form only: a NAME: without a value is as likely a slip.
func (r *reader) environmentList(v value) []Variable {
	var variables []Variable
	set := map[string]bool{}
	for i := range v.items {
		item := v.item(i)
		if item.kind != textKind {
			r.wrong(item, fmt.Sprintf("must be a string, not %s", article(item.kind)), "write NAME=value, or NAME for the host's value")
			continue
		}
		name, text, given := strings.Cut(r.scalar(item), "=")
		switch err := checkVariable(name); {
		case err != nil:
			r.report(item, err)
		case set[name]:
			r.wrong(item, fmt.Sprintf("the variable %s is already set in this list", name), "remove one of the two")
		default:
			set[name] = true
			r.notGitHubs(item, text)
			variables = append(variables, Variable{Position: item.position(), Name: name, Value: Value{Text: text, FromHost: !given}})
		}
	}
	return variables
}

func (r *reader) variable(v value) Value {
	switch v.kind {
	case mapKind:
		if _, run := v.get("from_run"); run {
			return Value{FromRun: r.fromRun(v)}
		}
		return Value{FromSecret: r.fromSecret(v)}
	case nullKind:
		r.wrong(v, "has no value", `write "" for an empty one`)
	case listKind:
		r.wrong(v, "must be a string, a number, true or false, {from_secret: NAME} or {from_run: FACT}, not a list", "")
	default:
		text := r.scalar(v)
		r.notGitHubs(v, text)
		return Value{Text: text}
	}
	return Value{}
}

var gitHubsSecret = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$\{\{\s*secrets\s*(?:\.\s*|\[\s*['"])([A-Za-z0-9_.-]+)(?:['"]\s*\])?\s*\}\}`)
})

// notGitHubs refuses a secret in the words of GitHub Actions, which would reach the program as they are: a log-in with
// them fails far from here.
func (r *reader) notGitHubs(v value, text string) {
	found := gitHubsSecret().FindStringSubmatch(text)
	switch {
	case found == nil:
	case found[0] == strings.TrimSpace(text):
		r.wrong(v, found[0]+" is an expression of GitHub Actions, which is not evaluated", fmt.Sprintf("write {from_secret: %s}", found[1]))
	default:
		r.wrong(v, found[0]+" is an expression of GitHub Actions, which is not evaluated", fmt.Sprintf("give the step {from_secret: %s} as a variable, and put the text together in a command", found[1]))
	}
}

// checkVariable refuses the names that execve cannot hand over.
func checkVariable(name string) error {
	switch {
	case name == "":
		return &Error{Message: "the name of a variable must not be empty"}
	case strings.ContainsAny(name, "=\x00"):
		return &Error{Message: "the name of a variable must not contain = or NUL"}
	}
	return nil
}

const secretRule = "the name of a secret has letters, digits and any of _ . -"

var secretFileName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\.?[A-Za-z0-9_][A-Za-z0-9_.-]*$`) })

var secretName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`) })

// fromSecret reads {from_secret: NAME}.
func (r *reader) fromSecret(v value) string {
	name := ""
	r.object(v, fields{"from_secret": func(v value) { name = r.matching(v, secretName(), secretRule) }})
	if _, given := v.get("from_secret"); !given {
		r.missing(v, "from_secret")
	}
	return name
}

// fromRun reads {from_run: FACT}.
func (r *reader) fromRun(v value) RunFact {
	fact := ""
	r.object(v, fields{"from_run": func(v value) { fact = r.oneOf(v, string(RunStatus), string(RunFailedSteps), string(RunStarted)) }})
	return RunFact(fact)
}

// SecretDirectory is where the secrets of a step are, as files in memory.
const SecretDirectory = "/run/secrets"

// secrets reads the list of a step's secrets.
func (r *reader) secrets(v value) []SecretUse {
	if v.kind != listKind {
		r.wrongType(v, "a list")
		return nil
	}
	var uses []SecretUse
	files := map[string]bool{}
	for i := range v.items {
		item := v.item(i)
		use := r.secret(item)
		if files[use.File] && use.File != "" {
			r.wrong(item, fmt.Sprintf("the file %s is already that of another secret", use.File), "")
		}
		files[use.File] = true
		uses = append(uses, use)
	}
	return uses
}

// secret reads NAME, {name: NAME, file: PATH} or {name: NAME, env: VARIABLE}.
func (r *reader) secret(v value) SecretUse {
	use := SecretUse{Position: v.position()}
	if v.kind != mapKind {
		if v.kind != textKind {
			r.wrongType(v, "a string or a map")
			return use
		}
		if use.Name = r.matching(v, secretName(), secretRule); use.Name != "" {
			use.File = path.Join(SecretDirectory, use.Name)
		}
		return use
	}
	r.object(v, fields{
		"name": func(v value) { use.Name = r.matching(v, secretName(), secretRule) },
		"file": func(v value) { use.File = r.secretFile(v) },
		"env": func(v value) {
			use.Env = r.word(v)
			if err := checkVariable(use.Env); use.Env != "" && err != nil {
				r.report(v, err)
			}
		},
	})
	if _, given := v.get("name"); !given {
		r.missing(v, "name")
	}
	if _, given := v.get("file"); !given && use.Env == "" && use.Name != "" {
		use.File = path.Join(SecretDirectory, use.Name)
	}
	return use
}

// pullSecrets reads names of secrets.
func (r *reader) pullSecrets(v value) []SecretUse {
	var uses []SecretUse
	for _, entry := range r.entries(v) {
		uses = append(uses, SecretUse{Position: entry.position(), Name: r.matching(entry, secretName(), secretRule)})
	}
	return uses
}

// secretFile reads a name, or a path directly below /run/secrets.
func (r *reader) secretFile(v value) string {
	text := r.word(v)
	if text == "" {
		return ""
	}
	name := strings.TrimPrefix(text, SecretDirectory+"/")
	// A path with .. or / in it could put the secret where another user of the
	// workspace reads it.
	if !secretFileName().MatchString(name) {
		r.wrong(v, fmt.Sprintf("%q is not directly below %s", text, SecretDirectory), "write a plain file name")
		return ""
	}
	return path.Join(SecretDirectory, name)
}

// setTwice reports a variable that two keys of the step set.
func (r *reader) setTwice(s *Step) {
	set := map[string]string{}
	for _, variable := range s.Environment {
		set[variable.Name] = "environment"
	}
	for _, use := range s.Secrets {
		if by, twice := set[use.Env]; twice && use.Env != "" {
			r.wrongAt(use.Position, fmt.Sprintf("the variable %s is already set by %s", use.Env, by), "remove one of the two")
		}
		set[use.Env] = "secrets"
	}
}
