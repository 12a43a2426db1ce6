package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stepexec/stepexec/pull"
)

// accessTime is how long it is remembered that credentials get an image.
const accessTime = time.Hour

// allow returns nil if the credentials of f get a stored image that was pulled with credentials.
// Its registry is asked, unless it has answered within the last hour. Otherwise, a job without
// credentials could run, and read, what another job's credentials have pulled.
func (f *Fetcher) allow(ctx context.Context, image *Image, ref pull.Reference) error {
	if f.AccessDir == "" || !image.private {
		return nil
	}
	id, err := pull.Identity(ctx, ref, f.Options)
	if err != nil {
		return err
	}
	mark := filepath.Join(f.AccessDir, id)
	if isFresh(mark) {
		return nil
	}
	if _, _, err := pull.Head(ctx, ref, f.Options); err != nil {
		return fmt.Errorf("image %s is stored, but it was pulled with credentials, and its registry refuses it to the credentials of this job: %w (give the job credentials; pull_credentials: shared in the settings lets all jobs use what is stored)", ref, err)
	}
	f.note(mark)
	return nil
}

// remember notes that the credentials of f have got an image just now.
func (f *Fetcher) remember(ctx context.Context, ref pull.Reference) {
	if f.AccessDir == "" {
		return
	}
	if id, err := pull.Identity(ctx, ref, f.Options); err == nil { // otherwise the registry is asked the next time
		f.note(filepath.Join(f.AccessDir, id))
	}
}

// note makes a mark. Where that fails, the registry is asked the next time.
func (f *Fetcher) note(mark string) {
	if os.MkdirAll(f.AccessDir, 0o700) != nil {
		return
	}
	old, err := os.ReadDir(f.AccessDir)
	for _, entry := range old {
		if path := filepath.Join(f.AccessDir, entry.Name()); !isFresh(path) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	if err == nil || errors.Is(err, os.ErrNotExist) { // another job has removed one
		_ = os.WriteFile(mark, nil, 0o600)
	}
}

func isFresh(mark string) bool {
	info, err := os.Stat(mark)
	if err != nil {
		return false
	}
	age := time.Since(info.ModTime())
	return age >= 0 && age < accessTime
}
