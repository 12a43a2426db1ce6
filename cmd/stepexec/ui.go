package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/ui"
)

// uiOptions are the flags of `stepexec ui`.
type uiOptions struct {
	root      string
	listen    string
	allowStop bool
}

func newUI() *cobra.Command {
	o := &uiOptions{}
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Show runs in a browser",
		Long: `Serve pages to a browser on this machine, until interrupted: runs, including those in
progress, with timelines and logs; the last runs of each pipeline; images and caches with
their sizes.

Whoever has the printed address can see all of this: it contains a token, so that other
users of this machine cannot. To use it from another machine, forward the same port:
ssh -L 8080:127.0.0.1:8080 HOST.`,
		Example: `  stepexec ui
  stepexec ui --listen 127.0.0.1:8080 --allow-stop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.serve(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`ADDRESS` of this machine's loopback interface with a port; port 0 is any free one")
	flags.BoolVar(&o.allowStop, "allow-stop", false, "let pages stop runs, as stepexec stop does")
	addRoot(flags, &o.root)
	return cmd
}

func (o *uiOptions) serve(ctx context.Context, stdout io.Writer) (err error) {
	// Without this, a mistake in --root would show no runs, and not say why.
	if _, err := os.ReadDir(o.root); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("--root %s: %w", o.root, err)
	}
	listener, err := ui.Listen(o.listen)
	if err != nil {
		return fmt.Errorf("--listen %w", err)
	}
	defer listener.Close() // Serve has closed it, unless it was never called
	server, err := ui.New(ui.Options{Root: o.root, AllowStop: o.allowStop, Flags: rootFlag(o.root)}, listener.Addr())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, server.URL()); err != nil {
		server.Close()
		return err
	}
	return server.Serve(ctx, listener)
}
