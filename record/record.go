package record

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
)

const (
	recordFile = "record.json"
	logFile    = "log.ndjson"
	sizeFile   = "artifacts.size" // bytes of the artifacts, as text
)

// ProvenanceFile is the name of the file with the provenance of a run's artifacts, in the folder of
// its record.
const ProvenanceFile = "provenance.json"

// ArtifactsDir is the name of the folder with a run's artifacts, in the folder of its record.
const ArtifactsDir = "artifacts"

// Record is what is kept of a run, apart from its log.
type Record struct {
	Run       string         `json:"run"`
	Name      string         `json:"name,omitempty"` // name of the pipeline
	User      string         `json:"user,omitempty"`
	File      string         `json:"file,omitempty"` // absolute path of the pipeline file
	Cell      string         `json:"cell,omitempty"` // name of the run among several, or the cell of its matrix
	Workspace string         `json:"workspace,omitempty"`
	Build     *event.Build   `json:"build,omitempty"` // what was built; nil: not known
	Started   time.Time      `json:"started"`
	Steps     []StepRecord   `json:"steps"`             // the plan: services first, then steps, in the order of the file
	Finished  bool           `json:"finished"`          // false: the run still goes on, or its process died
	Summary   *event.Summary `json:"summary,omitempty"` // nil unless finished

	dir string
}

// StepRecord is a step or a service of the plan.
type StepRecord struct {
	Name      string   `json:"name"`
	Image     string   `json:"image"`
	Service   bool     `json:"service,omitempty"`
	DependsOn []string `json:"depends_on,omitempty"`
}

// Plan is the plan as results of steps that have not begun.
func (r *Record) Plan() []event.StepResult {
	var steps []event.StepResult
	for _, s := range r.Steps {
		steps = append(steps, event.StepResult{Step: s.Name, Image: s.Image, Service: s.Service, DependsOn: s.DependsOn})
	}
	return steps
}

var (
	// ErrNotFound says that there is no record of a run.
	ErrNotFound = errors.New("no record")
	errTooLarge = errors.New("it is too large")
	// ErrAmbiguous says that the IDs of several runs begin with the given text.
	ErrAmbiguous = errors.New("the IDs of several runs begin with this")
)

func folder(root string) string { return filepath.Join(root, "history") }

// Folder is the folder of the record of a run, below a state root.
func Folder(root, run string) string { return filepath.Join(folder(root), run) }

// Find reads the record of the run whose ID begins with prefix. The error can be
// ErrNotFound, or wrap ErrAmbiguous.
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

// Match returns the only run whose ID begins with prefix. Otherwise the error is
// ErrNotFound, or wraps ErrAmbiguous.
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

// maxRecord bounds what is read of a record, and a line of its log, in bytes. One of 20,000 steps has 15 MB.
const maxRecord = 64 << 20

func read(dir string) (Record, error) {
	r := Record{dir: dir}
	file, err := r.open(recordFile)
	if err != nil {
		return Record{}, err
	}
	defer file.Close()
	data, err := readBounded(file)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return Record{}, fmt.Errorf("read %s: %w (the record is damaged: remove its folder)", file.Name(), err)
	}
	return r, nil
}

// readBounded reads a file of at most maxRecord bytes. One that is larger is not read.
func readBounded(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxRecord {
		return nil, errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err == nil && len(data) > maxRecord {
		err = errTooLarge // it grows
	}
	return data, err
}

// open opens a file of the record. A link that leads out of the records, and anything but a file, is not
// followed: whoever can write to a state root must not make root show another user's files.
func (r Record) open(name string) (*os.File, error) {
	all, run := filepath.Split(r.dir)
	root, err := os.OpenRoot(all)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.OpenFile(filepath.Join(run, name), os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO does not block
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a file: %w", file.Name(), cmp.Or(err, fs.ErrInvalid)), file.Close())
	}
	return file, nil
}

// save writes the whole record or nothing. It does not call fsync, which would take longer
// than the rest of the record: a power loss may lose the records of the last seconds, and
// nothing else.
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
