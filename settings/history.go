package settings

import (
	"errors"
	"regexp"
	"strconv"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// History says which records of runs are kept. A zero field means the default.
type History struct {
	Keep    int           // runs
	MaxAge  time.Duration // since a run's end
	MaxSize int64         // bytes, of all records together

	Artifacts int64 // bytes of the artifacts in the record of one run
}

// OrDefault fills in what nothing was said of: 100 runs, 30 days, 1 GB, of which the artifacts of a run
// may take a quarter.
func (h History) OrDefault() History {
	if h.Keep == 0 {
		h.Keep = 100
	}
	if h.MaxAge == 0 {
		h.MaxAge = 30 * 24 * time.Hour
	}
	if h.MaxSize == 0 {
		h.MaxSize = 1e9
	}
	if h.Artifacts == 0 {
		h.Artifacts = h.MaxSize / 4
	}
	return h
}

func (p *parser) history(n *yaml.Node) (h History) {
	p.object(n, fields{
		"keep":     func(n *yaml.Node) { h.Keep = int(p.count(n)) },
		"max_age":  func(n *yaml.Node) { h.MaxAge = parsed(p, n, parseAge) },
		"max_size": func(n *yaml.Node) { h.MaxSize = parsed(p, n, ParseSize) },

		"max_artifacts": func(n *yaml.Node) { h.Artifacts = parsed(p, n, ParseSize) },
	})
	return h
}

var ageForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([1-9][0-9]{0,4})([dh])$`) })

// parseAge reads days or hours, such as 30d.
func parseAge(text string) (time.Duration, error) {
	parts := ageForm().FindStringSubmatch(text)
	if parts == nil {
		return 0, errors.New("want a number of days or hours, such as 30d or 12h, not " + quoted(text))
	}
	number, err := strconv.Atoi(parts[1])
	unit := time.Hour
	if parts[2] == "d" {
		unit *= 24
	}
	return time.Duration(number) * unit, err
}
