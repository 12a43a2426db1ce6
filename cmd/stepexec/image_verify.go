package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/unpack"
)

func newVerify() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the store",
		Long: `Check everything in the store and list what is wrong: unreadable records, layers that
are missing or were lost in a power failure, files that cannot be reached, owners and
modes that let others in, whiteouts and overlay attributes that the store did not make,
wrong fix-up layers, and changed contents: the tar of every layer is rebuilt and must
have its original digest. Nothing is changed.

Owners, modes, times and attributes of files are not compared with those in the tar. The
tar of a layer that has a file twice, which is rare, cannot be rebuilt: the layer is
checked without its digest.`,
		Example: "  stepexec verify",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := unpack.OpenStore(root)
			if err != nil {
				return err
			}
			found, err := store.Verify(cmd.Context())
			return errors.Join(err, printVerified(cmd.OutOrStdout(), found))
		},
	}
	addRoot(cmd.Flags(), &root)
	return cmd
}

func printVerified(w io.Writer, v unpack.Verified) error {
	for _, p := range v.Problems {
		if _, err := fmt.Fprintf(w, "%s: %v\n", p.Path, p.Err); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "checked %d images, %d layers (%d by digest), %d files\n", v.Images, v.Layers, v.Digests, v.Files); err != nil {
		return err
	}
	if n := len(v.Problems); n > 0 {
		return fmt.Errorf("verify: %d problems in the store", n)
	}
	return nil
}
