package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/archive"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/unpack"
)

// saveOptions are the flags of `stepexec save`.
type saveOptions struct {
	root, platform, file, compression string
}

func newSave() *cobra.Command {
	o := &saveOptions{}
	cmd := &cobra.Command{
		Use:   "save IMAGE...",
		Short: "Save images of the store in an archive",
		Long: `Write images of the store into one OCI archive, which stepexec load, docker load,
podman load, ctr images import and skopeo read. IMAGE is the reference that was pulled,
or the name that stepexec images shows. Configuration and uncompressed layers are, byte
for byte, those that were pulled; layers are compressed anew.`,
		Example: "  stepexec save -o golang.tar golang:1.26\n  stepexec save --compression zstd golang:1.26 | ssh builder stepexec load /dev/stdin",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.save(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "output", "o", "", "`FILE` to write; - is standard output, the default")
	flags.StringVar(&o.compression, "compression", "gzip", "of the layers: gzip, zstd or none")
	flags.StringVar(&o.platform, "platform", "", "platform of the images, such as linux/arm64 (default: this machine's)")
	addRoot(flags, &o.root)
	return cmd
}

func (o *saveOptions) save(ctx context.Context, stdout io.Writer, args []string) (err error) {
	compression, err := archive.ParseCompression(o.compression)
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	store, err := unpack.OpenStore(o.root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	images, err := o.images(store, args)
	if err != nil {
		return err
	}
	if o.file == "" || o.file == "-" {
		if isTerminal(stdout) {
			return errors.New("save: the archive would go to the terminal (name a file: -o FILE, or redirect the output)")
		}
		return archive.Write(ctx, store, images, compression, stdout)
	}
	return writeFile(o.file, func(w io.Writer) error { return archive.Write(ctx, store, images, compression, w) })
}

// images finds the images and protects them from removal.
func (o *saveOptions) images(store *unpack.Store, args []string) ([]archive.Image, error) {
	fetcher := &fetch.Fetcher{Store: store, Platform: o.platform}
	platform := o.platform
	if platform == "" {
		platform = fetch.HostPlatform()
	}
	var images []archive.Image
	for _, arg := range args {
		ref, err := fetcher.Parse(arg)
		if err != nil {
			return nil, err
		}
		name := ref.String()
		if err := store.Use(name, platform); err != nil {
			return nil, err
		}
		record, err := store.Image(name, platform)
		if err != nil {
			return nil, fmt.Errorf("save: %w (pull it first: stepexec pull %s)", err, arg)
		}
		image := archive.Image{ImageRecord: record}
		if !ref.IsLocal() && ref.Digest == "" {
			image.Names = []string{name}
		}
		images = append(images, image)
	}
	return images, nil
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// writeFile writes a file, and replaces an existing one only once the new one is complete. If path
// is not a regular file, such as /dev/stdout, it writes to it directly.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
