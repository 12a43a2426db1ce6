package cache

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// List returns all entries, the newest first. An entry that cannot be read is left out.
func (r *Remote) List(ctx context.Context) ([]Entry, error) {
	addresses, err := r.depot.Addresses(ctx)
	if err != nil {
		return nil, fmt.Errorf("store %s: list the entries: %w", r.name, err)
	}
	var all []Entry
	for _, at := range addresses {
		e, err := r.entry(ctx, at)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil && e != nil && address(e.Scope, e.Name, len(e.Key), e.Key) == at {
			all = append(all, *e)
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return b.Created.Compare(a.Created) })
	return all, nil
}

// Remove removes entries, and data that no entry has any more.
func (r *Remote) Remove(ctx context.Context, choose Choice) (removed []Entry, err error) {
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	needed := map[string]int{} // entries, by the digests of their data
	for _, e := range all {
		needed[e.Digest]++
	}
	for _, e := range choose(slices.Clone(all)) {
		addresses := []string{address(e.Scope, e.Name, len(e.Key), e.Key)}
		for parts := len(e.Key) - 1; parts > 0; parts-- {
			at := address(e.Scope, e.Name, len(e.Key), e.Key[:parts])
			if other, err := r.entry(ctx, at); err == nil && other != nil && slices.Equal(other.Key, e.Key) {
				addresses = append(addresses, at)
			}
		}
		unneeded := ""
		if needed[e.Digest]--; needed[e.Digest] == 0 {
			unneeded = e.Digest
		}
		if err := r.depot.Remove(ctx, addresses, unneeded); err != nil {
			return removed, fmt.Errorf("store %s: remove the entry %s: %w", r.name, e.ID(), err)
		}
		removed = append(removed, e)
	}
	return removed, nil
}

// Verify reads the data of all entries, and returns those that are damaged.
func (r *Remote) Verify(ctx context.Context) (checked int, damaged []Damaged, err error) {
	all, err := r.List(ctx)
	for _, e := range all {
		why := errUnsealed
		if r.isSealed(&e) {
			why = r.read(ctx, &e, func(_ context.Context, data io.Reader) error { _, err := io.Copy(io.Discard, data); return err })
		}
		if ctx.Err() != nil {
			return checked, damaged, context.Cause(ctx)
		}
		if why != nil {
			damaged = append(damaged, Damaged{e, why})
		}
		checked++
	}
	return checked, damaged, err
}
