package pipeline

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// StepKeys returns the keys of a step that Parse knows, but for its name.
func StepKeys() []string {
	return slices.Sorted(maps.Keys((&parser{}).stepFields(&Step{})))
}

// TopKeys returns the keys of a pipeline that Parse knows.
func TopKeys() []string {
	return slices.Sorted(maps.Keys((&parser{}).topFields(&Pipeline{})))
}

// JSONValue is the file as a JSON Schema sees it, with aliases and merge keys
// resolved. It is false for a file that is not even YAML, or breaks its rules.
func JSONValue(data []byte) (any, bool) {
	root, errs := load("", data)
	if root == nil || len(errs) > 0 {
		return nil, false
	}
	return root.json(), true
}

func (n *node) json() any {
	switch n.kind {
	case nullKind:
		return nil
	case booleanKind:
		return n.text[0]|0x20 == 't'
	case numberKind:
		if json.Valid([]byte(n.text)) {
			return json.Number(n.text)
		}
		i, _ := strconv.ParseInt(n.text, 0, 64) // .inf and .nan have no place in JSON; 0 will do
		return json.Number(strconv.FormatInt(i, 10))
	case listKind:
		items := []any{}
		for _, item := range n.items {
			items = append(items, item.json())
		}
		return items
	case mapKind:
		object := map[string]any{}
		for _, p := range n.pairs {
			object[p.name] = p.value.json()
		}
		return object
	}
	return n.text
}
