package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/provenance"
	"github.com/stepexec/stepexec/signature"
)

// verifyProvenance is `stepexec verify-provenance`.
type verifyProvenance struct {
	keys       []string
	artifacts  []string
	commit     string
	repository string
	builder    string
	clean      bool
}

func newVerifyProvenance() *cobra.Command {
	o := &verifyProvenance{}
	cmd := &cobra.Command{
		Use:   "verify-provenance FILE",
		Short: "Check how files were made",
		Long: `Check the provenance that run --provenance wrote, and print what was built. Every
envelope in FILE must be signed by one of the keys, and each --artifact must be a file that
the run made. Fail if a signature is missing or from another key, if anything was changed,
if files of the checkout were changed and --clean is given, or if the commit, the repository
or the builder is not the required one.`,
		Example: `  stepexec verify-provenance app.intoto.jsonl --key cosign.pub --artifact app
  stepexec verify-provenance app.intoto.jsonl --key cosign.pub --artifact app --repository acme/app`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.verify(cmd.OutOrStdout(), args[0]); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.keys, "key", nil, "public key in `FILE`, such as cosign.pub (may be repeated: one of them is enough)")
	flags.StringArrayVar(&o.artifacts, "artifact", nil, "`FILE` that must be one of the artifacts (may be repeated)")
	flags.StringVar(&o.commit, "commit", "", "full `HASH` of the commit that they must be built from")
	flags.StringVar(&o.repository, "repository", "", "repository `OWNER/NAME` that they must be built from")
	flags.BoolVar(&o.clean, "clean", false, "require that no file of the checkout was changed when the build began")
	flags.StringVar(&o.builder, "builder-id", "", "`URI` of the builder that must have made the artifacts")
	return cmd
}

func (o *verifyProvenance) verify(w io.Writer, file string) error {
	if len(o.keys) == 0 {
		return errors.New("no key is given (name one: --key cosign.pub)")
	}
	var keys []signature.Key
	for _, name := range o.keys {
		key, err := signature.ReadKey(name)
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
		keys = append(keys, key)
	}
	text, err := readBounded(file, provenance.MaxSize)
	if err != nil {
		return err
	}
	all, err := provenance.Verify(text, keys)
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := o.expected(s); err != nil {
			return err
		}
	}
	if err := o.checkArtifacts(all); err != nil {
		return err
	}
	return printProvenance(w, all)
}

// readBounded reads a file of at most a number of bytes.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return text, err
}

// expected returns an error unless a statement says what is asked for.
func (o *verifyProvenance) expected(s *provenance.Statement) error {
	source := s.Predicate.Definition.External.Source
	if source == nil {
		source = &provenance.Source{}
	}
	for _, c := range []struct{ what, is, want string }{
		{"commit", commitOf(s), o.commit},
		{"repository", source.Repository, o.repository},
		{"builder", s.Predicate.Details.Builder.ID, o.builder},
	} {
		if c.want != "" && c.is != c.want {
			return fmt.Errorf("the %s is %.200q, not %q", c.what, c.is, c.want)
		}
	}
	if tree := sourceOf(s).Annotations[provenance.WorkTree]; o.clean && tree != "clean" {
		return fmt.Errorf("the checkout that was built is %.200q, not clean", cmp.Or(tree, "unknown"))
	}
	return nil
}

// commitOf is the commit that was built, "" where none is known.
func commitOf(s *provenance.Statement) string { return sourceOf(s).Digest["gitCommit"] }

// sourceOf is the dependency with a commit; the zero value where there is none.
func sourceOf(s *provenance.Statement) provenance.Descriptor {
	for _, d := range s.Predicate.Definition.Dependencies {
		if d.Digest["gitCommit"] != "" {
			return d
		}
	}
	return provenance.Descriptor{}
}

// checkArtifacts returns an error for a file that no statement is about.
func (o *verifyProvenance) checkArtifacts(all []*provenance.Statement) error {
	for _, name := range o.artifacts {
		sum, err := sumOf(name)
		if err != nil {
			return fmt.Errorf("--artifact: %w", err)
		}
		is := func(d provenance.Descriptor) bool { return d.Digest["sha256"] == sum }
		if !slices.ContainsFunc(all, func(s *provenance.Statement) bool { return slices.ContainsFunc(s.Subject, is) }) {
			return fmt.Errorf("--artifact %s: it is none of the artifacts (its SHA-256 is %s)", name, sum)
		}
	}
	return nil
}

// sumOf is the SHA-256 of a file, in hexadecimal.
func sumOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// printProvenance prints what verified statements say. They may hold any text.
func printProvenance(w io.Writer, all []*provenance.Statement) error {
	var text strings.Builder
	for _, s := range all {
		d, source := s.Predicate.Definition, s.Predicate.Definition.External.Source
		fmt.Fprintf(&text, "run %s of %s by %s\n", logs.Quote(s.Predicate.Details.Metadata.Invocation), logs.Quote(d.External.File), logs.Quote(s.Predicate.Details.Builder.ID))
		if source != nil && (source.Repository+source.Ref+source.Commit) != "" {
			known := slices.DeleteFunc([]string{source.Repository, source.Ref, source.Commit, sourceOf(s).Annotations[provenance.WorkTree]}, func(s string) bool { return s == "" })
			fmt.Fprintf(&text, "  source %s\n", logs.Quote(strings.Join(known, " ")))
		}
		for _, subject := range s.Subject {
			fmt.Fprintf(&text, "  %s  %s\n", logs.Quote(subject.Digest["sha256"]), logs.Quote(subject.Name))
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
