package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/pull"
)

func newVerifyImage() *cobra.Command {
	var flags settingsFlags
	var rules policyFlag
	var platform string
	cmd := &cobra.Command{
		Use:   "verify-image IMAGE",
		Short: "Check the signature of an image",
		Long: `Check the signatures of an image in a registry, as run and pull do: by the rule for it
in verify_images of the settings and, with --policy, by that of the policy. Print the
image's digest and the key that signed it. Fail if the signature is missing or wrong, or
if no rule asks for one. Nothing is stored.`,
		Example: "  stepexec verify-image registry.example.com/team/app:1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := flags.load()
			if err != nil {
				return err
			}
			policy, err := rules.load()
			if err != nil {
				return err
			}
			fetcher := &fetch.Fetcher{Platform: platform, Verify: policy.Signatures(), Options: pull.Options{Registries: s.Registries}}
			return verifyImage(cmd.Context(), cmd.OutOrStdout(), fetcher, args[0])
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "platform of the image, such as linux/arm64 (default: this machine's)")
	rules.add(cmd.Flags())
	flags.add(cmd.Flags())
	flags.addRegistries(cmd.Flags())
	return cmd
}

func verifyImage(ctx context.Context, stdout io.Writer, fetcher *fetch.Fetcher, image string) error {
	d, key, err := fetcher.VerifyImage(ctx, image)
	if err != nil {
		return err
	}
	if key == "" {
		return fmt.Errorf("image %s: no rule of verify_images asks for a signature (write one in the settings or the policy)", image)
	}
	_, err = fmt.Fprintf(stdout, "%s\nsigned by %s\n", d, key)
	return err
}
