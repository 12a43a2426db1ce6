package ui

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/report"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/settings"
	"github.com/stepexec/stepexec/unpack"
)

const (
	measureTime = 5 * time.Second  // for the sizes of all cache folders
	mostRows    = 1000             // of a table
	stillFresh  = 30 * time.Second // how long sizes are good for
)

// storage is what the state root takes up, for its page.
type storage struct {
	Images     []imageRow
	Layers     string // size of the layers of all images
	Keyed      []keyedRow
	KeyedBytes string
	Folders    []folderRow
	More       struct{ Images, Keyed, Folders int } // rows that are not listed
	Records    int
	Problems   []string // what could not be read
}

type imageRow struct {
	Name, Platform, Digest, Size, Shared, Used string
	InUse                                      bool
	Missing                                    int // layers
}

type keyedRow struct {
	Name, Scope        string
	Files              int
	Size, Packed, Used string
}

type folderRow struct{ Name, Size, Used string }

// measured is the storage as it was measured last: measuring reads much, and many pages may ask.
type measured struct {
	mu   sync.Mutex // guards the rest; held while it is measured
	at   time.Time
	last storage
}

func (m *measured) storage(ctx context.Context, root string) storage {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.at) > stillFresh {
		m.last, m.at = storageOf(ctx, root), time.Now()
	}
	return m.last
}

func (s *Server) serveStorage(w http.ResponseWriter, _ *http.Request) {
	all := s.measured.storage(s.ending, s.options.Root)
	runs, _, _ := s.runs.list() // the first page says what is wrong with them
	all.Records = len(runs)
	s.write(w, http.StatusOK, frame{Title: "Storage", Page: "storage", Script: "list.js"}, all)
}

func storageOf(ctx context.Context, root string) storage {
	var all storage
	for _, part := range []struct {
		name string
		add  func(context.Context, string) error
	}{{"the images", all.addImages}, {"the keyed caches", all.addKeyed}, {"the cache folders", all.addFolders}} {
		if err := part.add(ctx, root); err != nil {
			all.Problems = append(all.Problems, "Not all of "+part.name+" can be read: "+logs.QuoteLines(err.Error(), ""))
		}
	}
	return all
}

// addImages adds the images of the store, the last used first. A store that nobody has used is not made.
func (s *storage) addImages(_ context.Context, root string) (err error) {
	if _, err := os.Lstat(filepath.Join(root, "images")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	store, err := unpack.LookAt(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	images, err := store.Usage()
	if err != nil {
		return err
	}
	slices.SortStableFunc(images, func(a, b unpack.ImageUsage) int { return b.Used.Compare(a.Used) })
	bytes, err := store.LayerBytes()
	if err != nil {
		return err
	}
	s.Layers, s.More.Images = size(bytes), max(0, len(images)-mostRows)
	for _, i := range images[:min(len(images), mostRows)] {
		s.Images = append(s.Images, imageRow{
			Name: logs.Quote(i.Reference), Platform: logs.Quote(i.Platform), Digest: i.Manifest.String(), Size: size(i.Bytes), Shared: size(i.Shared),
			Used: report.Moment(i.Used), InUse: i.InUse, Missing: i.Missing,
		})
	}
	return nil
}

// addKeyed adds the keyed caches, the last used first.
func (s *storage) addKeyed(ctx context.Context, root string) error {
	entries, err := run.KeyedStore(root, settings.Settings{}).List(ctx)
	if err != nil {
		return err
	}
	var total int64
	for _, e := range entries {
		total += e.Packed
	}
	s.KeyedBytes, s.More.Keyed = size(total), max(0, len(entries)-mostRows)
	for _, e := range entries[:min(len(entries), mostRows)] {
		s.Keyed = append(s.Keyed, keyedRow{logs.Quote(e.Name), logs.Quote(e.Scope), e.Files, size(e.Bytes), size(e.Packed), report.Moment(e.Used)})
	}
	return nil
}

// addFolders adds the caches without a key. What steps have put there can be much, so there is a time after
// which the sizes are those of a part.
func (s *storage) addFolders(_ context.Context, root string) error {
	dirs, err := os.ReadDir(run.CachesDir(root))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	until := time.Now().Add(measureTime)
	s.More.Folders = max(0, len(dirs)-mostRows)
	var failed error
	for _, dir := range dirs[:min(len(dirs), mostRows)] {
		info, err := dir.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was just removed
		}
		if err != nil {
			return err
		}
		bytes, whole, err := measure(filepath.Join(run.CachesDir(root), dir.Name()), until)
		failed = cmp.Or(failed, err)
		words := size(bytes)
		if !whole {
			words = "more than " + words
		}
		s.Folders = append(s.Folders, folderRow{logs.Quote(dir.Name()), words, report.Moment(info.ModTime())})
	}
	return failed
}

// measure adds up the blocks of all files below a directory, until a time; whole says that these are all. A
// file with several names counts as often. Running steps may change it meanwhile.
func measure(path string, until time.Time) (bytes int64, whole bool, err error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0) // a FIFO would wait for a writer
	if err != nil {
		return 0, false, err
	}
	defer dir.Close()
	err = beneath.Walk(dir, beneath.Visitor{Entry: func(dir *os.File, name string) (enter bool, err error) {
		if time.Now().After(until) {
			return false, errTime
		}
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return false, nil // it was just removed
		}
		const blockSize = 512 // stat(2), st_blocks
		bytes += st.Blocks * blockSize
		return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
	}})
	if errors.Is(err, errTime) {
		return bytes, false, nil
	}
	return bytes, err == nil, err
}

var errTime = errors.New("it takes too long")

func size(bytes int64) string { return units.HumanSize(float64(bytes)) }
