// Package cache keeps folders of steps under structured keys: what a green step leaves is packed
// and stored under a key that is new, and a later step with the same key, or with a key that
// begins the same, gets it back.
//
// A key belongs to a scope, such as a branch. A run reads from several scopes and writes to one,
// so that nothing that a pull request leaves reaches the branch that it asks to change.
//
// The data are addressed by their digest, which is checked whenever they are read. They come from
// strangers: unpacking leaves no root, follows no link, makes no device, and is bounded.
package cache
