package github

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// GitHub's limits: annotations of each kind in a step of a job, and bytes of a message.
const (
	mostAnnotations = 10
	mostMessage     = 4096
)

// command is a line that the runner obeys: ::name key=value,key=value::message.
type command struct {
	name       string
	properties []string // key, value, key, value; an empty value is left out
	message    string
}

func (c command) String() string {
	var b strings.Builder
	b.WriteString("::" + c.name)
	separator := " "
	for i := 0; i+1 < len(c.properties); i += 2 {
		if c.properties[i+1] != "" {
			b.WriteString(separator + c.properties[i] + "=" + escapedProperty(c.properties[i+1]))
			separator = ","
		}
	}
	message := c.message
	if len(message) > mostMessage {
		message = strings.ToValidUTF8(message[:mostMessage-len("…")], "") + "…"
	}
	b.WriteString("::" + escaped(message))
	return b.String()
}

func escaped(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

func escapedProperty(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(text)
}

// number formats n as a property; 0 means unknown and is left out.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// token returns a word that nobody can guess.
func token() string { return "stepexec-" + rand.Text() }
