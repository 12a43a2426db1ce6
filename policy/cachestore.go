package policy

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// cacheStore reads a pattern of stores of keyed caches, such as registry.example.com/ci/** or
// s3://bucket/caches/*.
func cacheStore(text string) (string, error) {
	if _, err := path.Match(text, ""); err != nil || text == "" || strings.ContainsAny(text, " \t\n") {
		return "", errors.New("is not a pattern of stores: write it like registry.example.com/ci/* or s3://bucket/**")
	}
	return text, nil
}

// hasStore reports whether a pattern matches a store. Names of hosts have no case.
func (r *rules) hasStore(store string) bool {
	// matchesName goes by folders, and would take the slashes of s3:// for some.
	folders := func(text string) string { return strings.Replace(text, "://", ":", 1) }
	if !strings.HasPrefix(store, "s3://") {
		store = strings.ToLower(store)
	}
	return slices.ContainsFunc(r.cacheStores, func(pattern string) bool { return matchesName(folders(pattern), folders(store)) })
}
