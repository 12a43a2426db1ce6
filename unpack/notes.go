package unpack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// notes are the things that a layer cannot get right alone. The notes of all layers of an image
// decide what its fix-up layer holds.
type notes struct {
	// ImplicitDirs are directories that exist only because an entry lies in them; the layers below
	// have their metadata. The root of the layer, "", is one of them unless the tar has an entry
	// for it.
	ImplicitDirs []layerPath `json:"implicitDirs,omitempty"`
	// WhiteoutDirs hold overlay whiteouts.
	WhiteoutDirs []layerPath `json:"whiteoutDirs,omitempty"`
	// Links are hard links to files of a layer below, sorted by name.
	Links []lowerLink `json:"links,omitempty"`
	// OpaqueRoot means that nothing of the layers below is visible. Overlayfs ignores the xattr on
	// a root.
	OpaqueRoot bool `json:"opaqueRoot,omitempty"`
	// Image is set for a layer that is an EROFS image.
	Image *imageSum `json:"image,omitempty"`
	// Warnings are messages for people.
	Warnings []string `json:"warnings,omitempty"`
}

// An imageSum is the size and checksum that Verify compares an image with.
type imageSum struct {
	Size  int64  `json:"size"`
	CRC32 uint32 `json:"crc32c"`
}

// A lowerLink is a hard link whose target is not in its own layer.
type lowerLink struct {
	Name   layerPath `json:"name"`
	Target layerPath `json:"target"`
}

// A layerPath is a clean path inside a layer. JSON has it as a quoted Go string, because file names
// are arbitrary bytes and JSON would replace those that are not UTF-8.
type layerPath string

// MarshalText implements encoding.TextMarshaler.
func (p layerPath) MarshalText() ([]byte, error) {
	return strconv.AppendQuoteToASCII(nil, string(p)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *layerPath) UnmarshalText(text []byte) error {
	s, err := strconv.Unquote(string(text))
	*p = layerPath(s)
	return err
}

func (n notes) write(dir string) error {
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("write %s: %w", notesFile, err)
	}
	return os.WriteFile(filepath.Join(dir, notesFile), data, 0o600)
}

func readNotes(dir string) (notes, error) {
	var n notes
	path := filepath.Join(dir, notesFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return n, fmt.Errorf("read %s: %w: remove the directory to unpack the layer again", path, err)
	}
	return n, nil
}
