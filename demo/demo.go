package demo

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed pipeline.yml
var pipelineFile []byte

// The names of what Write makes in its folder.
const (
	PipelineName = "pipeline.yml"
	imageName    = "image"
)

// Pipeline returns the text of the pipeline file.
func Pipeline() string { return string(pipelineFile) }

// Write writes the pipeline and its image into a folder, which it makes if there is none, and returns
// the path of the pipeline file. program is the path of stepexec. A pipeline file that is there
// already, and differs, is an error: somebody may have changed it. Links in the folder are not
// followed out of it, because the folder may be another user's.
func Write(dir, program string) (file string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder of the demo: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("open the folder of the demo: %w", err)
	}
	defer root.Close()
	file = filepath.Join(dir, PipelineName)
	there, err := root.ReadFile(PipelineName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = root.WriteFile(PipelineName, pipelineFile, 0o644)
	case err == nil && string(there) != string(pipelineFile):
		err = fmt.Errorf("%s exists, and is not the demo's (run it: stepexec run %s)", file, file)
	}
	if err != nil {
		return "", fmt.Errorf("write the demo's pipeline: %w", err)
	}
	if err := writeImage(root, program); err != nil {
		return "", fmt.Errorf("make the demo's image: %w", err)
	}
	return file, nil
}
