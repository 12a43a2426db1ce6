package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/provenance"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/signature"
)

// passwordVariable holds the password of an encrypted key, as for cosign.
const passwordVariable = "COSIGN_PASSWORD"

// provenanceFlags say where the provenance of a run goes, and who signs it.
type provenanceFlags struct {
	file    string
	key     string
	builder string
}

func (o *provenanceFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.file, "provenance", "", "write to `FILE` how the artifacts were made, when the run was green: SLSA provenance, a signed envelope a run")
	flags.StringVar(&o.key, "sign-key", "", "sign the provenance with the private key in `FILE`, of cosign or in the form of PKCS #8; "+passwordVariable+" is its password")
	flags.StringVar(&o.builder, "builder-id", provenance.BuilderID, "`URI` that the provenance names as the builder: this machine, or this installation")
}

// provenances are the statements of the runs of a request.
type provenances struct {
	file *outputFile // nil: none are wanted
	name string
	key  signature.PrivateKey

	mu    sync.Mutex // guards lines: several runs may end at once
	lines [][]byte
}

// open prepares the file and the key. The file of an earlier run is removed: it would be taken for
// this run's.
func (o *provenanceFlags) open() (*provenances, error) {
	switch {
	case o.file == "" && o.key != "":
		return nil, errors.New("--sign-key: there is nothing to sign (name a file: --provenance FILE)")
	case o.file == "":
		return &provenances{}, nil
	case o.key == "":
		return nil, errors.New("--provenance: it proves nothing without a signature (name a key: --sign-key FILE)")
	}
	p := &provenances{name: o.file}
	var err error
	if p.key, err = signature.ReadPrivateKey(o.key, os.Getenv(passwordVariable)); err != nil {
		return nil, fmt.Errorf("--sign-key: %w", err)
	}
	if p.file, err = openOutput(o.file); err != nil {
		return nil, fmt.Errorf("--provenance: %w", err)
	}
	if err := p.file.remove(); err != nil {
		return nil, errors.Join(fmt.Errorf("--provenance: remove that of an earlier run: %w", err), p.file.close())
	}
	return p, nil
}

// ask has a request make the statements. policy is the name of what admits the pipeline.
func (p *provenances) ask(r *run.Request, o *provenanceFlags, policy string) {
	if o.file == "" {
		return
	}
	r.Provenance = &run.Provenance{Builder: provenance.Builder{ID: o.builder, Version: map[string]string{"stepexec": programVersion()}}, Policy: policy, Attest: p.attest}
	if !p.key.IsEncrypted() {
		r.Provenance.Key = o.key
	}
}

// attest signs the statement of a run.
func (p *provenances) attest(s *provenance.Statement) ([]byte, error) {
	line, err := provenance.Sign(s, p.key)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	return line, nil
}

// end writes the file of a run that was green. Of another there is none, also where a step wrote one.
func (p *provenances) end(code int) error {
	if p.file == nil {
		return nil
	}
	if code != 0 {
		return errors.Join(p.file.remove(), p.file.close())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == 0 {
		err := errors.New("--provenance: the run left no artifacts, so there is none (files that must exist: if_missing: error)")
		return errors.Join(err, p.file.remove(), p.file.close())
	}
	err := p.file.write(func(w io.Writer) error {
		for _, line := range p.lines {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("write the provenance %s: %w", p.name, err)
	}
	return errors.Join(err, p.file.close())
}
