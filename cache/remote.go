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
	"strings"
	"sync"
	"time"
)

// Depot is where a store that several machines share has its entries and data: a repository of a
// registry, or a bucket. Nothing that it returns is trusted.
type Depot interface {
	// Entry returns the description that is stored at an address. The error is fs.ErrNotExist if
	// there is none.
	Entry(ctx context.Context, address string) ([]byte, error)
	// Data opens packed data by their digest, in hexadecimal.
	Data(ctx context.Context, digest string) (io.ReadCloser, error)
	// Put stores data, and then a description of them at each address.
	Put(ctx context.Context, u Upload) error
	// Addresses lists the addresses of whole keys.
	Addresses(ctx context.Context) ([]string, error)
	// Remove removes the entry at addresses, of which the first is that of its whole key, and data by
	// their digest; "": others need them.
	Remove(ctx context.Context, addresses []string, digest string) error
	// Close ends connections.
	Close()
}

// Upload is what is put in a depot.
type Upload struct {
	Description []byte // JSON of the entry
	Addresses   []string
	Data        *os.File
	Digest      string                    // sha256 of the data, in hexadecimal
	Size        int64                     // bytes of the data
	Watch       func(io.Reader) io.Reader // wraps readers of the data, to notice when nothing is read
	Sent        func()                    // says that all data are read, so that the depot may take its time with them
}

// Patience bounds how long a remote store may take. A zero field means the default.
type Patience struct {
	Lookup   time.Duration // for finding an entry; default 20 s
	Stall    time.Duration // without 1 MiB of progress in a transfer; default 30 s
	Transfer time.Duration // for a transfer; default 10 min
}

func (p Patience) orDefault() Patience {
	for field, usual := range map[*time.Duration]time.Duration{&p.Lookup: 20 * time.Second, &p.Stall: 30 * time.Second, &p.Transfer: 10 * time.Minute} {
		if *field == 0 {
			*field = usual
		}
	}
	return p
}

// Remote is a store that several machines share. An entry has an address for its whole key and one
// for each beginning of it, where the newest entry is that begins so. The address has the scope in
// it, and so has the entry, which is checked: nothing that is stored for one scope is used for another.
//
// What fails once is not tried again by the same Remote, so that a server that is away costs a run
// its patience once.
type Remote struct {
	name     string // for messages
	depot    Depot
	temp     string // folder for packed data; it is made when something is saved
	patience Patience
	key      []byte // that entries are sealed with; nil: with none

	mu   sync.Mutex
	away error           // why the store is not asked any more; nil: it is
	lost map[string]bool // digests of data that entries have and the store has not
}

// NewRemote returns the store of a depot, and owns the depot.
func NewRemote(name string, d Depot, temp string, p Patience) *Remote {
	return &Remote{name: name, depot: d, temp: temp, patience: p.orDefault()}
}

// Close ends connections.
func (r *Remote) Close() { r.depot.Close() }

const (
	wholeKey  = "key-"
	beginning = "begin-"
)

// address is where the entry is whose key has a number of parts and begins with some of them.
func address(scope, name string, parts int, begin Key) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d\n", scope, name, parts)
	for _, part := range begin {
		fmt.Fprintf(h, "%q\n", part)
	}
	kind := wholeKey
	if len(begin) < parts {
		kind = beginning
	}
	return kind + hex.EncodeToString(h.Sum(nil)[:20])
}

// failed notes that the store is not to be asked again, unless the run itself has ended.
func (r *Remote) failed(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away == nil {
		r.away = fmt.Errorf("store %s: not asked again after it failed to %s", r.name, doing)
	}
	return fmt.Errorf("store %s: %s: %w", r.name, doing, err)
}

func (r *Remote) usable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away
}

// Restore does what [Store.Restore] does.
func (r *Remote) Restore(ctx context.Context, q Query, into string, l Limits) (Restored, bool, error) {
	if err := r.usable(); err != nil {
		return Restored{}, false, err
	}
	best, exact, err := r.find(ctx, q)
	if errors.Is(err, errUnsealed) {
		return Restored{}, false, fmt.Errorf("store %s: the entry %s: %w", r.name, best.ID(), err)
	}
	if err != nil {
		return Restored{}, false, r.failed(ctx, "find an entry", err)
	}
	if best == nil {
		return Restored{}, false, nil
	}
	if err := r.unpack(ctx, best, into, l.orDefault()); err != nil {
		if errors.Is(err, errLost) {
			r.noteLost(best.Digest)
			return Restored{}, false, fmt.Errorf("store %s: the entry %s: %w", r.name, best.ID(), err)
		}
		return Restored{}, false, r.failed(ctx, "deliver the entry "+best.ID(), err)
	}
	return Restored{*best, exact}, true, nil
}

// errLost is an entry whose data the store does not have any more. It may remove what is old while a
// newer entry has the same data, or two machines saved and removed at once. Such an entry is replaced.
var errLost = errors.New("the store has lost its data")

func (r *Remote) noteLost(digest string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost == nil {
		r.lost = map[string]bool{}
	}
	r.lost[digest] = true
}

func (r *Remote) isLost(digest string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost[digest]
}

// find looks at the addresses of a query, the best first. With errUnsealed, it returns one that may
// not be used.
func (r *Remote) find(ctx context.Context, q Query) (best *Entry, exact bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.patience.Lookup, fmt.Errorf("it took longer than %v", r.patience.Lookup))
	defer cancel()
	var unsealed *Entry
	for dropped := range min(q.Fallback, len(q.Key)-1) + 1 {
		begin := q.Key[:len(q.Key)-dropped]
		for _, scope := range q.Scopes.Read {
			e, err := r.entry(ctx, address(scope, q.Name, len(q.Key), begin))
			if err != nil {
				return nil, false, err
			}
			if e == nil {
				continue
			}
			if !r.isSealed(e) {
				unsealed = e
				continue
			}
			if e.Scope != scope || e.Name != q.Name || !e.Key.begins(q.Key, len(begin)) {
				return nil, false, fmt.Errorf("the entry at %s is of another key or scope (%q, %q)", address(scope, q.Name, len(q.Key), begin), e.Scope, e.Name)
			}
			if isFresh(e, q.MaxAge) {
				return e, dropped == 0, nil
			}
		}
	}
	if unsealed != nil {
		return unsealed, false, errUnsealed
	}
	return nil, false, nil
}

// entry reads an entry; nil: there is none.
func (r *Remote) entry(ctx context.Context, address string) (*Entry, error) {
	text, err := r.depot.Entry(ctx, address)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	e := &Entry{}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("the entry at %s is not valid JSON", address)
	}
	if sum, err := hex.DecodeString(e.Digest); err != nil || len(sum) != sha256.Size || e.Packed <= 0 {
		return nil, fmt.Errorf("the entry at %s has no digest or no size", address)
	}
	e.Used = e.Created // a shared store does not say when it was read
	return e, nil
}

// unpack unpacks the data of an entry while they arrive. Nothing of them is seen by a step before
// their digest is right.
func (r *Remote) unpack(ctx context.Context, e *Entry, into string, l Limits) error {
	return r.read(ctx, e, func(ctx context.Context, data io.Reader) error { return unpack(ctx, data, into, l) })
}

// read has the data of an entry read, and checks their digest.
func (r *Remote) read(ctx context.Context, e *Entry, use func(context.Context, io.Reader) error) error {
	ctx, w := newWatch(ctx, r.patience)
	defer w.stop()
	data, err := r.depot.Data(ctx, e.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return errLost
	}
	if err != nil {
		return w.why(err)
	}
	defer data.Close()
	h, arrived := sha256.New(), &counter{}
	limited := io.LimitReader(w.watched(data), e.Packed+1)
	all := io.TeeReader(limited, io.MultiWriter(h, arrived))
	if err := use(ctx, all); err != nil {
		return w.why(err)
	}
	if _, err := io.Copy(io.Discard, all); err != nil { // what follows the archive
		return w.why(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != e.Digest || arrived.bytes != e.Packed {
		return fmt.Errorf("the data are damaged: %d bytes with the digest %s, not %d with %s", arrived.bytes, got, e.Packed, e.Digest)
	}
	return nil
}

// Save does what [Store.Save] does.
func (r *Remote) Save(ctx context.Context, item Item, from string, l Limits) (err error) {
	if err := r.usable(); err != nil {
		return err
	}
	whole := address(item.Scope, item.Name, len(item.Key), item.Key)
	there, err := r.isThere(ctx, whole, item)
	if err != nil {
		return r.failed(ctx, "find an entry", err)
	}
	if there {
		return nil
	}
	e := &Entry{Scope: item.Scope, Share: item.Share, Name: item.Name, Key: item.Key, Created: time.Now().UTC()}
	packed, err := r.packed(ctx, e, from, l.orDefault())
	if err != nil {
		return err
	}
	defer packed.Close()
	if r.key != nil {
		e.Seal = seal(r.key, e)
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	addresses := []string{whole}
	for parts := len(item.Key) - 1; parts > 0; parts-- {
		addresses = append(addresses, address(item.Scope, item.Name, len(item.Key), item.Key[:parts]))
	}
	sending, w := newWatch(ctx, r.patience)
	defer w.stop()
	u := Upload{Description: text, Addresses: addresses, Data: packed, Digest: e.Digest, Size: e.Packed, Watch: w.watched, Sent: w.sent}
	if err := r.depot.Put(sending, u); err != nil {
		if err = w.why(err); errors.Is(err, fs.ErrNotExist) {
			err = errNoPlace
		}
		return r.failed(ctx, "take an entry", err)
	}
	return nil
}

// errNoPlace is what a depot means that takes nothing because something does not exist.
var errNoPlace = errors.New("it has no such place (does the repository or bucket exist, and may this machine write to it?)")

// isThere reports whether the scope has an entry with the key that is not too old. Whatever else is
// at its address is replaced.
func (r *Remote) isThere(ctx context.Context, whole string, item Item) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.patience.Lookup, fmt.Errorf("it took longer than %v", r.patience.Lookup))
	defer cancel()
	text, err := r.depot.Entry(ctx, whole)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var e Entry
	fits := json.Unmarshal(text, &e) == nil && e.Scope == item.Scope && e.Name == item.Name && e.Key.begins(item.Key, len(item.Key))
	return fits && r.isSealed(&e) && isFresh(&e, item.MaxAge) && !r.isLost(e.Digest), nil
}

// packed packs a folder into a file that has no name, so that nothing of it is left behind.
func (r *Remote) packed(ctx context.Context, e *Entry, from string, l Limits) (_ *os.File, err error) {
	if err := os.MkdirAll(r.temp, 0o700); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(r.temp, tempPrefix)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := os.Remove(file.Name()); err != nil {
		return nil, err
	}
	h, written := sha256.New(), &counter{}
	if e.Files, e.Bytes, err = pack(ctx, ending{ctx, nil, io.MultiWriter(file, h, written)}, from, l); err != nil {
		return nil, err
	}
	e.Digest, e.Packed = hex.EncodeToString(h.Sum(nil)), written.bytes
	return file, nil
}

// IsWholeKey reports whether an address is that of a whole key.
func IsWholeKey(address string) bool { return strings.HasPrefix(address, wholeKey) }
