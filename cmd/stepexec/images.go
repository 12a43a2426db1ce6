package main

import (
	"fmt"
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
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := unpack.OpenStore(root)
			if err != nil {
				return err
			}
			records, err := store.Images()
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "IMAGE\tPLATFORM\tDIGEST\tLAYERS\tSIZE\tPULLED")
			for _, r := range records {
				var size int64
				for _, layer := range r.Layers {
					size += max(layer.Size, 0)
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", r.Reference, r.Platform, r.Manifest,
					len(r.Layers), units.HumanSize(float64(size)), r.Pulled.Local().Format("2006-01-02 15:04"))
			}
			return table.Flush()
		},
	}
	addRoot(cmd.Flags(), &root)
	return cmd
}
