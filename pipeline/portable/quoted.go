package portable

import (
	"fmt"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pipeline/envsubst"
)

// quoted looks at ${NAME} between single quotes of a command. A server puts the value in before
// the shell sees the quotes; the shell of a native step would leave the text as it is. Values that
// are the same for every build are put in, and others are errors. Commands with a here-document
// are left alone: quotes in it are text.
func (c *conversion) quoted(s *pipeline.Step, command *string) {
	if !strings.Contains(*command, "'") || strings.Contains(*command, "<<") {
		return
	}
	var done strings.Builder
	text := *command
	for text != "" {
		single, n := nextPart(text)
		part := text[:n]
		if single {
			part = braces().ReplaceAllStringFunc(part, func(found string) string { return c.inQuotes(s, found) })
		}
		done.WriteString(part)
		text = text[n:]
	}
	*command = done.String()
}

// nextPart returns the length of the text up to the end of a part in single quotes, or up to
// the beginning of one.
func nextPart(text string) (single bool, n int) {
	if text[0] == '\'' {
		if end := strings.IndexByte(text[1:], '\''); end >= 0 {
			return true, end + 2
		}
		return true, len(text)
	}
	double := false
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '\\':
			i++
		case b == '"':
			double = !double
		case b == '\'' && !double:
			return false, i
		case b == '#' && !double && (i == 0 || strings.IndexByte(" \t\n;", text[i-1]) >= 0): // a comment
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		}
	}
	return false, len(text)
}

// inQuotes replaces a variable between single quotes.
func (c *conversion) inQuotes(s *pipeline.Step, found string) string {
	name := firstName().FindString(found)
	if _, known := c.workflow.Fixed[name]; known {
		if done, err := envsubst.Substitute("", found, c.workflow.Fixed); err == nil && !strings.Contains(done, "'") {
			return done
		}
	}
	if strings.HasPrefix(name, "DRONE_") || strings.HasPrefix(name, "CI_") || c.axes[name] {
		c.fail(s.Position, "commands", fmt.Sprintf("%s is between single quotes, where the shell of a native step leaves it as it is", envsubst.Restore(found)),
			fmt.Sprintf("write double quotes, or give a value for every run: convert --env %s=VALUE", name))
	}
	return found
}
