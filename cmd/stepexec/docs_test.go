package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	docsLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docsHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	docsFence   = regexp.MustCompile("(?ms)^```.*?^```$")
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksOfTheDocumentationLeadSomewhere follows the relative links of all pages, also to headings,
// by GitHub's rules for anchors.
func TestLinksOfTheDocumentationLeadSomewhere(t *testing.T) {
	anchors := map[string]map[string]bool{}
	for _, page := range docsPages(t) {
		for _, link := range docsLink.FindAllStringSubmatch(docsFence.ReplaceAllString(readPage(t, page), ""), -1) {
			if strings.Contains(link[1], "://") || strings.HasPrefix(link[1], "mailto:") {
				continue
			}
			path, anchor, _ := strings.Cut(link[1], "#")
			target := filepath.Join(filepath.Dir(page), path)
			if path == "" {
				target = page
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s: %v", page, link[1], err)
				continue
			}
			if anchor == "" {
				continue
			}
			if anchors[target] == nil {
				anchors[target] = anchorsOf(readPage(t, target))
			}
			if !anchors[target][anchor] {
				t.Errorf("%s: the link %s leads to no heading", page, link[1])
			}
		}
	}
}

// TestTheIndexHasEveryPage holds docs/index.md against the folder.
func TestTheIndexHasEveryPage(t *testing.T) {
	index := readPage(t, "../../docs/index.md")
	for _, page := range docsPages(t) {
		name := filepath.Base(page)
		if name != "index.md" && name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/index.md does not have %s", name)
		}
	}
}

func docsPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("found %d pages, %v", len(pages), err)
	}
	return append(pages, "../../README.md")
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func anchorsOf(page string) map[string]bool {
	anchors := map[string]bool{}
	for _, heading := range docsHeading.FindAllStringSubmatch(docsFence.ReplaceAllString(page, ""), -1) {
		text := docsLink.ReplaceAllString(heading[1], "]")
		anchors[strings.ReplaceAll(strings.ToLower(notInAnchor.ReplaceAllString(text, "")), " ", "-")] = true
	}
	return anchors
}
