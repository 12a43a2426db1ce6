package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store keeps caches in a folder of this machine. Several processes may use it at once: while one
// reads or adds, it has a shared lock; who removes has an exclusive one.
type Store struct {
	dir  string
	most int64 // bytes of all data; 0: no limit
}

// Open opens the store in a folder, which is made when something is saved. When the data of all
// entries exceed most bytes, those of the largest share that were not used for the longest time are
// removed, so that no repository, and no pull request, takes the room of all others.
func Open(dir string, most int64) *Store { return &Store{dir: dir, most: most} }

// Entry is a stored cache.
type Entry struct {
	Scope   string    `json:"scope"`
	Share   string    `json:"share,omitempty"` // see [Scopes]
	Name    string    `json:"name"`
	Key     Key       `json:"key"`
	Digest  string    `json:"digest"` // sha256 of the packed data, in hexadecimal
	Packed  int64     `json:"packed"` // bytes of the packed data
	Bytes   int64     `json:"bytes"`  // of all files
	Files   int       `json:"files"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
	Seal    []byte    `json:"seal,omitempty"` // see [Remote.SealWith]

	path string // of the file that describes it
}

// ID names the entry in the store.
func (e *Entry) ID() string { return scopeID(e.Scope)[:8] + "-" + e.Key.id()[:8] }

func scopeID(scope string) string {
	sum := sha256.Sum256([]byte(scope))
	return hex.EncodeToString(sum[:16])
}

const (
	entriesDir = "entries"
	dataDir    = "data"
	tempPrefix = ".part-"
)

func (s *Store) folder(scope, name string) string {
	return filepath.Join(s.dir, entriesDir, scopeID(scope), filepath.Base(name))
}

func (s *Store) data(digest string) string {
	return filepath.Join(s.dir, dataDir, filepath.Base(digest))
}

// Query is what a step asks for.
type Query struct {
	Scopes   Scopes
	Name     string
	Key      Key
	Fallback int           // parts that may be dropped from the end of the key, one after the other
	MaxAge   time.Duration // since it was saved; 0: any
}

// Restored says what a step got. Exact says that the whole key was found.
type Restored struct {
	Entry Entry
	Exact bool
}

// Restore unpacks the best match of a query into an empty folder. found is false without a match.
// After an error, the folder has to be emptied.
func (s *Store) Restore(ctx context.Context, q Query, into string, l Limits) (_ Restored, found bool, err error) {
	unlock, err := s.lock(ctx, unix.LOCK_SH, false)
	if errors.Is(err, fs.ErrNotExist) {
		return Restored{}, false, nil
	}
	if err != nil {
		return Restored{}, false, err
	}
	defer unlock()
	best, exact, err := s.find(q)
	if best == nil || err != nil {
		return Restored{}, false, err
	}
	if err := s.unpack(ctx, best, into, l); err != nil {
		return Restored{}, false, s.dropDamaged(ctx, best, err)
	}
	now := time.Now()
	err = os.Chtimes(best.path, now, now) // when it was used last
	return Restored{*best, exact}, true, err
}

// dropDamaged removes an entry that could not be unpacked, if its data are damaged: otherwise, every
// later run would find it again, and none would save another. It returns the error with that.
func (s *Store) dropDamaged(ctx context.Context, e *Entry, failed error) error {
	if ctx.Err() != nil || s.check(e) == nil {
		return failed
	}
	if err := removeIfThere(e.path); err != nil {
		return errors.Join(failed, err)
	}
	return fmt.Errorf("the entry %s is damaged and was removed: %w", e.ID(), failed)
}

func (s *Store) unpack(ctx context.Context, e *Entry, into string, l Limits) error {
	file, err := os.Open(s.data(e.Digest))
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	if err := unpack(ctx, io.TeeReader(ending{ctx, file, nil}, h), into, l.orDefault()); err != nil {
		return err
	}
	if _, err := io.Copy(h, file); err != nil { // what follows the archive
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != e.Digest {
		return fmt.Errorf("the stored data have the digest %s, not %s", got, e.Digest)
	}
	return nil
}

// find returns the best entry for a query: the one that shares most parts of the key, then the one
// of the preferred scope, then the newest.
func (s *Store) find(q Query) (best *Entry, exact bool, err error) {
	byScope := map[string][]Entry{}
	for _, scope := range q.Scopes.Read {
		if byScope[scope], err = readEntries(s.folder(scope, q.Name)); err != nil {
			return nil, false, err
		}
	}
	for dropped := range min(q.Fallback, len(q.Key)-1) + 1 {
		for _, scope := range q.Scopes.Read {
			for i := range byScope[scope] {
				e := &byScope[scope][i]
				fits := e.Scope == scope && e.Name == q.Name && e.Key.begins(q.Key, len(q.Key)-dropped)
				if fits && isFresh(e, q.MaxAge) && (best == nil || e.Created.After(best.Created)) {
					best = e
				}
			}
			if best != nil {
				return best, dropped == 0, nil
			}
		}
	}
	return nil, false, nil
}

// isFresh reports whether an entry is no older than an age; 0: any.
func isFresh(e *Entry, most time.Duration) bool { return most == 0 || time.Since(e.Created) <= most }

// Item is what a step saves a folder as.
type Item struct {
	Scope, Share string // see [Scopes]
	Name         string
	Key          Key
	MaxAge       time.Duration // of an entry that makes saving needless; 0: any
}

// Save packs a folder and stores it, unless the scope has an entry with the key already that is not
// too old. An older one, which a query with that age does not find, is replaced.
func (s *Store) Save(ctx context.Context, item Item, from string, l Limits) (err error) {
	path := filepath.Join(s.folder(item.Scope, item.Name), item.Key.id()+".json")
	for _, dir := range []string{filepath.Join(s.dir, dataDir), filepath.Dir(path)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	unlock, err := s.lock(ctx, unix.LOCK_SH, true)
	if err != nil {
		return err
	}
	defer func() { unlock() }()
	entries, err := readEntries(filepath.Dir(path))
	if err != nil {
		return err
	}
	isUsed := func(e Entry) bool { return e.path == path && isFresh(&e, item.MaxAge) }
	if slices.ContainsFunc(entries, isUsed) {
		return nil
	}
	e := Entry{Scope: item.Scope, Share: item.Share, Name: item.Name, Key: item.Key, Created: time.Now()}
	if err := s.pack(ctx, &e, from, l.orDefault()); err != nil {
		return err
	}
	if err := s.add(&e, path); err != nil {
		return err
	}
	unlock()
	unlock = func() {}
	if s.most == 0 {
		return nil
	}
	_, err = s.Remove(ctx, Beyond(s.most))
	return err
}

// pack writes the data of an entry.
func (s *Store) pack(ctx context.Context, e *Entry, from string, l Limits) (err error) {
	temp, err := os.CreateTemp(filepath.Join(s.dir, dataDir), tempPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temp.Close(), removeIfThere(temp.Name())) }()
	h := sha256.New()
	written := &counter{}
	if e.Files, e.Bytes, err = pack(ctx, ending{ctx, nil, io.MultiWriter(temp, h, written)}, from, l); err != nil {
		return err
	}
	e.Digest, e.Packed = hex.EncodeToString(h.Sum(nil)), written.bytes
	return os.Rename(temp.Name(), s.data(e.Digest))
}

// add writes the description of an entry, in place of one that is there.
func (s *Store) add(e *Entry, path string) (err error) {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), tempPrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeIfThere(temp.Name())) }()
	if _, err := temp.Write(text); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// readEntries reads the entries of a name in a scope. What is not the description of an entry is
// left out.
func readEntries(dir string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".json") || !file.Type().IsRegular() { // a FIFO would never end
			continue
		}
		e := Entry{path: filepath.Join(dir, file.Name())}
		text, err := os.ReadFile(e.path)
		if errors.Is(err, fs.ErrNotExist) { // another run has removed it
			continue
		}
		if err != nil {
			return nil, err
		}
		info, err := file.Info()
		if err != nil || json.Unmarshal(text, &e) != nil {
			continue
		}
		e.Used = info.ModTime()
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Entry) int { return b.Created.Compare(a.Created) })
	return all, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ending reads and writes packed data until its context ends, also in the middle of a huge file.
type ending struct {
	ctx  context.Context
	from io.Reader
	to   io.Writer
}

func (e ending) Read(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.from.Read(p)
}

func (e ending) Write(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.to.Write(p)
}

// counter counts the bytes that are written to it.
type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}
