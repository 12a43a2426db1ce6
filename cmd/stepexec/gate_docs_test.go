package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// securityDoc returns docs/security.md.
func securityDoc(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestSecurityDocNamesTestsThatExist fails for a test that docs/security.md names and that was
// renamed or removed.
func TestSecurityDocNamesTestsThatExist(t *testing.T) {
	exist := testNames(t)
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)(?:/([a-z]+))?`").FindAllStringSubmatch(securityDoc(t), -1)
	if len(names) == 0 {
		t.Fatal("docs/security.md names no test")
	}
	for _, name := range names {
		if !exist[name[1]] {
			t.Errorf("docs/security.md names %s, which does not exist", name[1])
		}
		if name[2] == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join("testdata/script", name[2]+".txtar")); name[1] != "TestScripts" || err != nil {
			t.Errorf("docs/security.md names %s/%s, which is no script", name[1], name[2])
		}
	}
}

// testNames are the tests of all packages.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	declared, names := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`), map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, found := range declared.FindAllStringSubmatch(string(data), -1) {
			names[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestSecurityDocHasEveryWayInAndEveryClass holds the table of ways in and trust classes against
// what TestEveryWayInPassesTheGate asks for.
func TestSecurityDocHasEveryWayInAndEveryClass(t *testing.T) {
	classes := []pipeline.Class{pipeline.Limit, pipeline.HostPath, pipeline.HostResource, pipeline.Privilege, pipeline.Joins}
	for _, key := range pipeline.Keys() {
		if key.Class != pipeline.Free && !slices.Contains(classes, key.Class) {
			t.Errorf("the class %s of the key %s has no column", key.Class, key.Name)
		}
	}
	header := "| way in |"
	for _, class := range classes {
		header += " " + string(class) + " |"
	}
	_, table, found := strings.Cut(securityDoc(t), header+"\n")
	if !found {
		t.Fatalf("docs/security.md has no table %s", header)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	says, rows := waysIn(), map[string]bool{}
	for _, row := range strings.Split(table, "\n")[1:] {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		for _, way := range strings.Split(strings.ReplaceAll(cells[0], "`", ""), ", ") {
			if says[way] == nil || rows[way] {
				t.Errorf("the way in %q has two rows, or there is none of that name", way)
				continue
			}
			rows[way] = true
			for i, class := range classes {
				want := "no words"
				for _, a := range asks("file") {
					if a.class == class && says[way](a) {
						want = "yes"
					}
				}
				if i+1 >= len(cells) || cells[i+1] != want {
					t.Errorf("%s, %s: the table should say %q", way, class, want)
				}
			}
		}
	}
	for way := range says {
		if !rows[way] {
			t.Errorf("the way in %q has no row", way)
		}
	}
}
