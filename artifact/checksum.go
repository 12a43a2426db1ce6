package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// Checksum is a digest of the names and contents of the files in the workspace that the patterns
// match, and their number. The files are found, opened and bounded as Collect does it.
func Checksum(ctx context.Context, workspace *os.File, p Patterns, l Limits) (digest string, files int, err error) {
	c := &collection{ctx: ctx, workspace: workspace, sums: map[string]string{}, patterns: p, limits: l.orDefault(), seen: map[string]bool{}}
	if err := c.all(); err != nil {
		return "", 0, err
	}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c.sums)) {
		fmt.Fprintf(all, "%q %s\n", name, c.sums[name])
	}
	return hex.EncodeToString(all.Sum(nil)), len(c.sums), nil
}

// copySummed copies a file and notes the digest of what was copied, where digests are wanted.
func (c *collection) copySummed(to, from *os.File, name string) error {
	if c.sums == nil {
		return c.copy(to, from, name)
	}
	h := sha256.New()
	if err := c.copy(io.MultiWriter(to, h), from, name); err != nil {
		return err
	}
	c.sums[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}

// sum notes the digest of a file.
func (c *collection) sum(from io.Reader, name string) error {
	h := sha256.New()
	if err := c.copy(h, from, name); err != nil {
		return err
	}
	c.sums[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}
