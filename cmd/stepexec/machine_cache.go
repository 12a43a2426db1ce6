package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/settings"
)

func newCache() *cobra.Command {
	var o cacheOptions
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "List, check and remove keyed caches",
		Long: `List, check and remove what steps with keyed caches have saved on this machine or, with
--store, in a store that machines share. Caches without a key are in folders of their names;
stepexec prune --caches removes both kinds from this machine.`,
		Example: `  stepexec cache ls
  stepexec cache rm --older-than 168h
  stepexec cache ls --store registry.example.com/ci/cache`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addRoot(cmd.PersistentFlags(), &o.root)
	cmd.PersistentFlags().StringVar(&o.store, "store", pipeline.LocalStore, "`store` of the caches: local, a repository of a registry, or s3://BUCKET/PREFIX")
	o.settings.add(cmd.PersistentFlags())
	cmd.AddCommand(asRoot(newCacheList(&o)), asRoot(newCacheRemove(&o)), asRoot(newCacheVerify(&o)))
	return cmd
}

// cacheOptions say which store is meant.
type cacheOptions struct {
	root, store string
	settings    settingsFlags
}

// keyedStore is a store of keyed caches that a person looks at.
type keyedStore interface {
	List(ctx context.Context) ([]cache.Entry, error)
	Remove(ctx context.Context, choose cache.Choice) (removed []cache.Entry, err error)
	Verify(ctx context.Context) (checked int, damaged []cache.Damaged, err error)
}

// open opens the store. The caller must call close.
func (o *cacheOptions) open() (store keyedStore, close func(), err error) {
	if o.store == pipeline.LocalStore {
		return run.KeyedStore(o.root, settings.Settings{}), func() {}, nil
	}
	if !pipeline.IsCacheStore(o.store) {
		return nil, nil, fmt.Errorf("--store %s: not a store of caches (%s)", o.store, pipeline.CacheStores)
	}
	s, err := o.settings.load()
	if err != nil {
		return nil, nil, err
	}
	remote, err := run.RemoteStore(o.store, o.root, s)
	if err != nil {
		return nil, nil, err
	}
	return remote, remote.Close, nil
}

// listedCache is an entry as `stepexec cache ls --json` shows it.
type listedCache struct {
	ID string `json:"id"`
	cache.Entry
}

func newCacheList(o *cacheOptions) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the keyed caches, the last used first",
		Long: `List the keyed caches, the last used first, with their sizes as files and as packed. The
scope is the repository and the branch, tag or event that saved a cache. A shared store
does not know when a cache was used last, only when it was saved.`,
		Example: "  stepexec cache ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, close, err := o.open()
			if err != nil {
				return err
			}
			defer close()
			all, err := store.List(cmd.Context())
			if err != nil {
				return err
			}
			if !asJSON {
				return printCaches(cmd.OutOrStdout(), all)
			}
			listed := []listedCache{}
			for _, e := range all {
				listed = append(listed, listedCache{e.ID(), e})
			}
			return printJSON(cmd.OutOrStdout(), listed)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array, with the parts of the keys")
	return cmd
}

func printCaches(w io.Writer, all []cache.Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tSCOPE\tFILES\tSIZE\tPACKED\tUSED")
	for _, e := range all {
		size := func(bytes int64) string { return units.HumanSize(float64(bytes)) }
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", e.ID(), logs.Quote(e.Name), logs.Quote(e.Scope), e.Files, size(e.Bytes), size(e.Packed), e.Used.Local().Format(time.DateTime))
	}
	return table.Flush()
}

func newCacheRemove(o *cacheOptions) *cobra.Command {
	var chosen cacheChoice
	cmd := &cobra.Command{
		Use:   "rm [ID|NAME...]",
		Short: "Remove keyed caches",
		Long: `Remove keyed caches: those with the given ids, or beginnings of ids, and all with the
given names. --older-than and --keep-storage, together or alone, trim a store. In a shared
store, which nothing else trims, they go by when a cache was saved. Wait first until no run of
this machine is reading or saving a cache.`,
		Example: `  stepexec cache rm go-mod
  stepexec cache rm --older-than 168h
  stepexec cache rm --older-than 720h --keep-storage 50GB --store s3://bucket/caches`,
		RunE: func(cmd *cobra.Command, args []string) error {
			choose, err := chosen.of(args)
			if err != nil {
				return err
			}
			store, close, err := o.open()
			if err != nil {
				return err
			}
			defer close()
			removed, err := store.Remove(cmd.Context(), choose)
			for _, e := range removed {
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s (%s)\n", e.ID(), logs.Quote(e.Name))
			}
			if err == nil && len(removed) == 0 && len(args) > 0 {
				err = fmt.Errorf("no cache has the id or name %s (stepexec cache ls lists them)", strings.Join(args, ", "))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&chosen.all, "all", false, "remove all keyed caches")
	cmd.Flags().DurationVar(&chosen.unused, "older-than", 0, "remove those that were not used for this `time`, such as 72h")
	cmd.Flags().StringVar(&chosen.keep, "keep-storage", "", "remove those used least recently, until the packed `size` of all is at most this, such as 50GB: each time one of the repository with the most")
	return cmd
}

// cacheChoice says which caches to remove, beside their ids and names.
type cacheChoice struct {
	all    bool
	unused time.Duration
	keep   string // size
}

// of returns the choice that arguments and flags make.
func (c *cacheChoice) of(args []string) (cache.Choice, error) {
	trims := c.unused != 0 || c.keep != ""
	switch {
	case len(args) == 0 && !c.all && !trims, len(args) > 0 && (c.all || trims), c.all && trims:
		return nil, errors.New("say which caches: by ids or names, with --all, or with --older-than and --keep-storage")
	case c.unused < 0:
		return nil, fmt.Errorf("--older-than %s: must be positive", c.unused)
	case slices.Contains(args, ""):
		return nil, errors.New("an empty text names no cache")
	case c.all:
		return func(entries []cache.Entry) []cache.Entry { return entries }, nil
	case trims:
		return c.trim()
	}
	return func(entries []cache.Entry) []cache.Entry {
		return slices.DeleteFunc(entries, func(e cache.Entry) bool {
			return !slices.ContainsFunc(args, func(text string) bool { return e.IsCalled(text) })
		})
	}, nil
}

// trim chooses what is too old, and then what is too much.
func (c *cacheChoice) trim() (cache.Choice, error) {
	most := int64(math.MaxInt64)
	if c.keep != "" {
		var err error
		if most, err = settings.ParseSize(c.keep); err != nil {
			return nil, fmt.Errorf("--keep-storage: %w", err)
		}
	}
	return func(entries []cache.Entry) (chosen []cache.Entry) {
		isOld := func(e cache.Entry) bool { return c.unused > 0 && time.Since(e.Used) >= c.unused }
		var recent []cache.Entry
		for _, e := range entries {
			if isOld(e) {
				chosen = append(chosen, e)
			} else {
				recent = append(recent, e)
			}
		}
		return append(chosen, cache.Beyond(most)(recent)...)
	}, nil
}

func newCacheVerify(o *cacheOptions) *cobra.Command {
	return &cobra.Command{
		Use:     "verify",
		Short:   "Check the data of all keyed caches",
		Long:    "Read the data of all keyed caches, and list those that are damaged. The exit code is 125 if\nthere is one. A run notices them, too: it begins with an empty folder, and says so.",
		Example: "  stepexec cache verify || stepexec cache rm --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, close, err := o.open()
			if err != nil {
				return err
			}
			defer close()
			return verifyCaches(cmd.Context(), cmd.OutOrStdout(), store)
		},
	}
}

func verifyCaches(ctx context.Context, w io.Writer, store keyedStore) error {
	checked, damaged, err := store.Verify(ctx)
	if err != nil {
		return err
	}
	for _, d := range damaged {
		fmt.Fprintf(w, "damaged %s (%s): %v\n", d.ID(), logs.Quote(d.Name), d.Why)
	}
	fmt.Fprintf(w, "checked %d caches\n", checked)
	if len(damaged) > 0 {
		return fmt.Errorf("%d of %d caches are damaged (remove them: stepexec cache rm)", len(damaged), checked)
	}
	return nil
}
