package pipeline

import _ "embed"

//go:embed pipeline.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the native file format. It
// covers the structure; [Parse] also checks what spans several keys.
func Schema() []byte { return append([]byte(nil), schema...) }
