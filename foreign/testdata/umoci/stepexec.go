package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/stepexec/stepexec/foreign/apply"
)

// extraction is what one TarExtractor has unpacked into one directory.
type extraction struct {
	base    []byte // the directory as it was
	entries bytes.Buffer
}

var extractions = struct {
	sync.Mutex
	all map[*TarExtractor]*extraction
}{all: map[*TarExtractor]*extraction{}}

// UnpackEntry takes the place of umoci's own method. It unpacks anew all entries up to this one.
func (te *TarExtractor) UnpackEntry(root string, hdr *tar.Header, r io.Reader) error {
	extractions.Lock()
	defer extractions.Unlock()
	ctx := context.Background()
	e := extractions.all[te]
	if e == nil {
		base, err := apply.Snapshot(ctx, root)
		if err != nil {
			return err
		}
		e = &extraction{base: base}
		extractions.all[te] = e
	}
	w := tar.NewWriter(&e.entries)
	if err := w.WriteHeader(hdr); err != nil {
		return err
	}
	if r != nil {
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	layer := append(bytes.Clone(e.entries.Bytes()), make([]byte, 1024)...) // the end of a tar
	return apply.Layers(ctx, root, e.base, layer)
}
