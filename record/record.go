package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

const (
	recordFile = "record.json"
	logFile    = "log.ndjson"
)

// Record is what is kept of a run beside its log.
type Record struct {
	Run       string         `json:"run"`
	Name      string         `json:"name,omitempty"` // of the pipeline
	User      string         `json:"user,omitempty"`
	File      string         `json:"file,omitempty"` // of the pipeline, absolute
	Cell      string         `json:"cell,omitempty"` // which of several runs it was
	Workspace string         `json:"workspace,omitempty"`
	Started   time.Time      `json:"started"`
	Steps     []Step         `json:"steps"`             // the plan: services first, then steps, as in the file
	Finished  bool           `json:"finished"`          // false: the run goes on, or died
	Summary   *event.Summary `json:"summary,omitempty"` // how it ended; nil unless finished

	dir string
}

// Step is a step, or a service, of the plan.
type Step struct {
	Name      string   `json:"name"`
	Image     string   `json:"image"`
	Service   bool     `json:"service,omitempty"`
	DependsOn []string `json:"depends_on,omitempty"`
}

var (
	// ErrNotFound says that there is no record of a run.
	ErrNotFound = errors.New("no record")
	// ErrAmbiguous says that several runs begin with what was given.
	ErrAmbiguous = errors.New("several runs begin with this")
)

func folder(root string) string { return filepath.Join(root, "history") }

// Folder is where the record of a run is below a state root.
func Folder(root, run string) string { return filepath.Join(folder(root), run) }

// List reads all records below a state root, the newest first. The error is
// about records that cannot be read; the others are returned.
func List(root string) ([]Record, error) {
	entries, err := os.ReadDir(folder(root))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Record
	var failed []error
	for _, entry := range entries {
		if isRest(entry.Name()) {
			continue
		}
		r, err := read(filepath.Join(folder(root), entry.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // just being made, or removed
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Record) int { return b.Started.Compare(a.Started) })
	return all, errors.Join(failed...)
}

// Find reads the record of the run whose name begins with prefix. The error is,
// or wraps, ErrNotFound or ErrAmbiguous.
func Find(root, prefix string) (Record, error) {
	entries, err := os.ReadDir(folder(root))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Record{}, err
	}
	var names []string
	for _, entry := range entries {
		if !isRest(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	name, err := Match(names, prefix)
	if err != nil {
		return Record{}, err
	}
	return read(filepath.Join(folder(root), name))
}

// Match returns the one of the runs whose name begins with prefix, or
// ErrNotFound or ErrAmbiguous.
func Match(runs []string, prefix string) (string, error) {
	var found []string
	for _, run := range runs {
		if run == prefix {
			return run, nil
		}
		if prefix != "" && strings.HasPrefix(run, prefix) {
			found = append(found, run)
		}
	}
	switch len(found) {
	case 0:
		return "", ErrNotFound
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(found, ", "))
}

func read(dir string) (Record, error) {
	path := filepath.Join(dir, recordFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return Record{}, err
	}
	r := Record{dir: dir}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("read %s: %w (it is of no use any more: remove its folder)", path, err)
	}
	return r, nil
}

// save writes the record whole or not at all. There is no fsync, which would
// cost a run more than all the rest of its record: after a power loss records of
// the last seconds may be lost, and with them nothing but themselves.
func (r *Record) save() error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(r.dir, recordFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
