package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/joho/godotenv"
)

// maxEnvFile keeps an env file like /dev/zero from filling the memory.
const maxEnvFile = 1 << 20

// ReadEnvFile returns the variables of a dotenv file as NAME=value, sorted; of a name that is set twice,
// the later value. In text that is not in single quotes, $NAME and ${NAME} stand for a variable that the
// file has set before or that given finds; a name that neither has is an error, for an empty string in its
// place would be a wrong value. Any other $, and \$, is a $. given may be nil.
//
// The errors name file and line and never quote a value, which may be secret.
func ReadEnvFile(name string, given func(name string) (string, bool)) ([]string, error) {
	return readEnvFile(name, os.Open, given)
}

// ReadEnvFileBy is ReadEnvFile for a file that open opens; no names are given from elsewhere.
func ReadEnvFileBy(open func(name string) (*os.File, error), name string) ([]string, error) {
	return readEnvFile(name, open, nil)
}

// ReadSecretFile is ReadEnvFile for secrets: nothing is expanded, a $ is a $ in any quotes.
func ReadSecretFile(name string) ([]string, error) {
	data, err := readBounded(name, os.Open, maxEnvFile)
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	d := dotenv{file: name, literal: true}
	return d.read(string(data))
}

func readEnvFile(name string, open func(string) (*os.File, error), given func(string) (string, bool)) ([]string, error) {
	data, err := readBounded(name, open, maxEnvFile)
	if err != nil {
		return nil, fmt.Errorf("read env file: %w", err)
	}
	d := dotenv{file: name, given: given}
	return d.read(string(data))
}

// dotenv reads one file. godotenv knows the form: quotes, escapes, comments, export. It is given one
// statement at a time, for its errors have no lines, and no $, for it makes nothing of names that it does
// not find and knows those in capital letters only.
type dotenv struct {
	file    string
	literal bool // nothing is expanded
	given   func(name string) (string, bool)
	values  map[string]string
}

func (d *dotenv) read(text string) ([]string, error) {
	d.values = map[string]string{}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	line := 1
	for text != "" {
		statement, rest := cutStatement(text)
		if strings.TrimSpace(statement) != "" && !strings.HasPrefix(strings.TrimSpace(statement), "#") {
			skipped := len(statement) - len(strings.TrimLeft(statement, " \t\n"))
			if err := d.statement(statement); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", d.file, line+strings.Count(statement[:skipped], "\n"), err)
			}
		}
		line += strings.Count(statement, "\n")
		text = rest
	}
	var entries []string
	for _, name := range slices.Sorted(maps.Keys(d.values)) {
		entries = append(entries, name+"="+d.values[name])
	}
	return entries, nil
}

// cutStatement cuts off the first line of a text, with the lines that belong to it because a value in
// quotes goes on in them.
func cutStatement(text string) (statement, rest string) {
	end := lineEnd(text, 0)
	line := text[:end]
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return line, text[end:]
	}
	if open, end := quoted(text); end > 0 && open < len(line) {
		return text[:lineEnd(text, end)], text[lineEnd(text, end):]
	}
	return line, text[end:]
}

// lineEnd is where the line of text[i] ends, behind its newline.
func lineEnd(text string, i int) int {
	if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(text)
}

var errNotDotenv = errors.New("not in dotenv form: write NAME=value, and close the quotes that are opened")

// statement reads a single NAME=value.
func (d *dotenv) statement(text string) error {
	stand, err := standIns(text)
	if err != nil {
		return err
	}
	open, end := quoted(text)
	if end > 0 { // otherwise godotenv takes quotes away from a value that begins or ends with escaped ones
		text = text[:open+1] + stand.border + text[open+1:end] + stand.border + text[end:]
	}
	parsed, err := godotenv.Unmarshal(strings.NewReplacer(`\$`, stand.escaped, "$", stand.dollar).Replace(text))
	if err != nil || len(parsed) != 1 {
		return errNotDotenv // that of godotenv quotes the file
	}
	for name, value := range parsed {
		if err := checkVariable(name); err != nil {
			return err
		}
		value = strings.ReplaceAll(value, stand.border, "")
		switch {
		case end > 0 && text[open] == '\'':
			value = strings.NewReplacer(stand.dollar, "$", stand.escaped, `\$`).Replace(value)
		case d.literal:
			value = strings.NewReplacer(stand.dollar, "$", stand.escaped, "$").Replace(value)
		default:
			if value, err = d.expand(value, stand.dollar); err != nil {
				return err
			}
			value = strings.ReplaceAll(value, stand.escaped, "$")
		}
		d.values[name] = value
	}
	return nil
}

// quoted returns where the quotes around the value of a statement are; end is 0 when there are none.
func quoted(text string) (open, end int) {
	sign := strings.IndexAny(text, "=:")
	if sign < 0 {
		return 0, 0
	}
	open = len(text) - len(strings.TrimLeft(text[sign+1:], " \t"))
	if open == len(text) || text[open] != '"' && text[open] != '\'' {
		return 0, 0
	}
	for i := open + 1; i < len(text); i++ {
		if text[i] == text[open] && text[i-1] != '\\' {
			return open, i
		}
	}
	return 0, 0
}

// standIn are characters that a text does not have, from the private use area of Unicode.
type standIn struct{ dollar, escaped, border string }

func standIns(text string) (standIn, error) {
	if !utf8.ValidString(text) {
		return standIn{}, errors.New("not UTF-8")
	}
	var free []string
	for r := '\ue000'; r <= '\uf8ff' && len(free) < 3; r++ {
		if !strings.ContainsRune(text, r) {
			free = append(free, string(r))
		}
	}
	if len(free) < 3 {
		return standIn{}, errNotDotenv
	}
	return standIn{free[0], free[1], free[2]}, nil
}

var variableName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`) })

// expand replaces the variables of a value, in which dollar stands for $.
func (d *dotenv) expand(value, dollar string) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(value, dollar)
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		inside, braced := strings.CutPrefix(after, "{")
		name := variableName().FindString(inside)
		value = inside[len(name):]
		if braced && (name == "" || !strings.HasPrefix(value, "}")) {
			return "", errors.New("a ${ must be followed by the name of a variable and a } (write \\$ for a dollar sign)")
		}
		if name == "" {
			out.WriteByte('$')
			continue
		}
		if braced {
			value = value[1:]
		}
		text, err := d.lookup(name)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
		if out.Len() > maxEnvFile {
			return "", fmt.Errorf("the value has more than %d MiB with its variables put in", maxEnvFile>>20)
		}
	}
}

func (d *dotenv) lookup(name string) (string, error) {
	if text, found := d.values[name]; found {
		return text, nil
	}
	if d.given != nil {
		if text, found := d.given(name); found {
			return text, nil
		}
	}
	return "", fmt.Errorf("$%s: the file has set no such variable before, and none was given (put the value in single quotes, or write \\$, if a dollar sign is meant)", name)
}

// ReadEnvLines returns the variables of an env file as docker and ctr read it: every line that is not empty and
// does not begin with # is NAME=value as it stands, without quotes, escapes or expansion. NAME alone takes the
// value that host finds; unset are those that it does not find.
func ReadEnvLines(name string, host func(name string) (string, bool)) (entries, unset []string, err error) {
	data, err := readBounded(name, os.Open, maxEnvFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read env file: %w", err)
	}
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		text = strings.TrimLeft(strings.TrimRight(text, "\r\n"), " \t")
		if text == "" || text[0] == '#' {
			continue
		}
		variable, _, given := strings.Cut(text, "=")
		if variable == "" || strings.ContainsAny(variable, " \t\x00") {
			return nil, nil, fmt.Errorf("%s:%d: the name of a variable must not be empty or contain white space (write NAME=value)", name, line)
		}
		if !given {
			value, found := host(variable)
			if !found {
				unset = append(unset, variable)
				continue
			}
			text = variable + "=" + value
		}
		entries = append(entries, text)
	}
	return entries, unset, nil
}

func readBounded(name string, open func(string) (*os.File, error), limit int64) (data []byte, err error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: larger than %d MiB", name, limit>>20)
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}
