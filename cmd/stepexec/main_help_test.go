package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

var manDir = flag.String("man", "", "write the man pages to this directory (make man)")

// commands are all that users see.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(nil, nil))
	if len(all) < 15 {
		t.Fatalf("found %d commands only", len(all))
	}
	return all
}

// TestEveryCommandHelps: each says what it is for, shows how it is used and tells of
// every flag.
func TestEveryCommandHelps(t *testing.T) {
	for _, c := range commands(t) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short is %q, want a sentence without its period", path, c.Short)
		}
		if c.Long == "" {
			t.Errorf("%s: has no Long", path)
		}
		if c.Runnable() && !strings.Contains(c.Example, "stepexec ") {
			t.Errorf("%s: has no Example", path)
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if len([]rune(line)) > 101 {
				t.Errorf("%s: a line of %d characters: %s", path, len(line), line)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" && !f.Hidden {
				t.Errorf("%s: --%s is not described", path, f.Name)
			}
		})
	}
}

func TestOnlyTheSubcommandThatIsAskedForIsMade(t *testing.T) {
	for _, s := range subcommands(nil) {
		if made := newRoot(nil, []string{s.name, "--help"}).Commands(); len(made) != 1 || made[0].Name() != s.name {
			t.Errorf("%s: made %v", s.name, made)
		}
	}
	all := len(subcommands(nil))
	for _, args := range [][]string{nil, {"--help"}, {"help", "run"}, {"__complete", "ru"}, {"rum"}, {""}} {
		if made := newRoot(nil, args).Commands(); len(made) != all {
			t.Errorf("%q: made %d of %d", args, len(made), all)
		}
	}
}

// TestManPages makes the man pages, which `make man` writes to a directory:
// a command for it would bring a Markdown renderer into the program.
func TestManPages(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := newRoot(nil, nil)
	root.DisableAutoGenTag = true
	t.Setenv("HOME", "~") // and not this machine's, in default values
	if err := doc.GenManTree(root, &doc.GenManHeader{Title: "STEPEXEC", Section: "1", Source: "stepexec", Manual: "stepexec"}, dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands(t) {
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), ".SH NAME") || !strings.Contains(string(page), ".SH SYNOPSIS") {
			t.Errorf("the page of %s has no name and synopsis:\n%s", c.CommandPath(), page)
		}
	}
}
