package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/unpack"
)

func newImages() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "images",
		Short: "List the images in the store",
		Long: `List the images in the store. SIZE is the space that an image's unpacked layers take
up on disk, and SHARED is the part of it that other images use as well: removing the
image frees the difference. LAYERS 2/3 means that one of three layers is missing; it is
fetched when the image is used again.`,
		Example: "  stepexec images",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := unpack.OpenStore(root)
			if err != nil {
				return err
			}
			images, err := store.Usage()
			if err != nil {
				return err
			}
			return printImages(cmd.OutOrStdout(), images)
		},
	}
	addRoot(cmd.Flags(), &root)
	return cmd
}

func printImages(w io.Writer, images []unpack.ImageUsage) error {
	const minute = "2006-01-02 15:04"
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "IMAGE\tPLATFORM\tDIGEST\tLAYERS\tSIZE\tSHARED\tPULLED\tLAST USED")
	for _, i := range images {
		layers := fmt.Sprint(len(i.Layers))
		if i.Missing > 0 {
			layers = fmt.Sprintf("%d/%d", len(i.Layers)-i.Missing, len(i.Layers))
		}
		used := i.Used.Local().Format(minute)
		if i.InUse {
			used = "in use"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.Reference, i.Platform, i.Manifest, layers,
			units.HumanSize(float64(i.Bytes)), units.HumanSize(float64(i.Shared)), i.Pulled.Local().Format(minute), used)
	}
	return table.Flush()
}
