// Package tree builds the YAML of pipelines that are written, of whatever format.
package tree

import "go.yaml.in/yaml/v3"

// Text is a string.
func Text(value string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(value)
	return n
}

// Bare is a scalar without quotes, such as a number, with its tag.
func Bare(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// True is the boolean.
func True() *yaml.Node { return Bare("!!bool", "true") }

// NewList is an empty list.
func NewList() *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"} }

// Texts is a list of strings.
func Texts(values []string) *yaml.Node {
	list := NewList()
	for _, value := range values {
		list.Content = append(list.Content, Text(value))
	}
	return list
}

// List is one node for each item; nil for none.
func List[T any](items []T, node func(*T) *yaml.Node) *yaml.Node {
	if len(items) == 0 {
		return nil
	}
	list := NewList()
	for i := range items {
		list.Content = append(list.Content, node(&items[i]))
	}
	return list
}

// Map is a map in the order in which its keys were put.
type Map struct{ Node *yaml.Node }

// NewMap is an empty map.
func NewMap() Map { return Map{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

// Put adds a key, unless the value is nil.
func (m Map) Put(key string, value *yaml.Node) {
	if value != nil {
		m.Node.Content = append(m.Node.Content, Text(key), value)
	}
}

// Get is the value of a key; nil: the map has no such key.
func (m Map) Get(key string) *yaml.Node {
	for i := 0; i < len(m.Node.Content); i += 2 {
		if m.Node.Content[i].Value == key {
			return m.Node.Content[i+1]
		}
	}
	return nil
}

// Filled is nil for a map without keys.
func (m Map) Filled() *yaml.Node {
	if len(m.Node.Content) == 0 {
		return nil
	}
	return m.Node
}
