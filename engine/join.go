package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
	"github.com/stepexec/stepexec/sandbox"
)

// offer lets `stepexec shell` join a running step.
func (r *run) offer(n *node, s *sandbox.Sandbox, step *sandbox.Step) {
	withheld := map[string]string{}
	for _, entry := range step.Env {
		name, value, _ := strings.Cut(entry, "=")
		if secret, ok := n.step.SecretEnv[name]; ok || r.mask.String(value) != value {
			withheld[name] = secret
		}
	}
	if err := s.Offer(n.step.Name, withheld); err != nil {
		r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: fmt.Sprintf("stepexec shell cannot join the step: %v", err)})
	}
}

// Join runs a program in the container of a running step, with the step's environment
// except for secrets that are not in o. It returns the program's exit code. The rules may
// refuse the step's image, and further programs in a privileged one.
func Join(ctx context.Context, rules *policy.Policy, j *sandbox.Joinable, o Look) (int, error) {
	if _, err := rules.Join(pipeline.PlannedStep{Name: j.Name, Image: j.Image, Security: pipeline.Security{Privileged: isPrivileged(j)}}); err != nil {
		return 0, err
	}
	var values []string
	options := sandbox.ExecOptions{TTY: o.TTY}
	for _, value := range o.Secrets {
		values = append(values, value)
	}
	for name, secret := range j.Withheld {
		if value, given := o.Secrets[secret]; given {
			options.Env = append(options.Env, name+"="+value)
		}
	}
	c := &joined{look: o, mask: logs.NewMask(values), with: j}
	if o.Command != nil {
		options.Args = o.Command
		return c.run(ctx, options)
	}
	for _, program := range slices.Compact([]string{j.Shell, "/bin/sh"}) {
		if program == "" {
			continue
		}
		options.Args = []string{program}
		code, err := c.run(ctx, options)
		if !errors.As(err, new(*sandbox.CommandError)) {
			return code, err
		}
	}
	return 0, fmt.Errorf("image %s has no shell (name a program that the image has: stepexec shell RUN STEP -- PROGRAM)", j.Image)
}

// isPrivileged reports whether a running container can do to the host what root can.
func isPrivileged(j *sandbox.Joinable) bool {
	return j.Process.Capabilities != nil && slices.Contains(j.Process.Capabilities.Bounding, "CAP_SYS_ADMIN")
}

// joined is a program in a container that another process has made.
type joined struct {
	look Look
	mask *logs.Mask
	with *sandbox.Joinable
}

func (c *joined) run(ctx context.Context, o sandbox.ExecOptions) (_ int, err error) {
	in, err := newInput(source{file: c.look.Stdin})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	screen := &console{input: in, terminal: c.look.Terminal}
	o.Stdin = in.file()
	giveBack := func() error { return nil }
	if o.TTY {
		var lendErr error
		o.Terminal = func(t *sandbox.Terminal) {
			giveBack, lendErr = screen.lend(t)
			in.begin()
		}
		defer func() { err = errors.Join(err, lendErr) }()
	} else {
		in.begin()
	}
	defer func() { err = errors.Join(err, giveBack()) }()
	out, err := c.stream(c.look.Stdout)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.end()) }()
	o.Stdout, o.Stderr = out.writer, out.writer
	if c.look.Stderr != nil {
		errs, streamErr := c.stream(c.look.Stderr)
		if streamErr != nil {
			return 0, streamErr
		}
		defer func() { err = errors.Join(err, errs.end()) }()
		o.Stderr = errs.writer
	}
	exit, err := c.with.Exec(ctx, o)
	return exit.Code, err
}

// stream is a pipe whose content is masked and passed on.
type stream struct {
	reader, writer *os.File
	masked         io.WriteCloser // passes it on
	copying        sync.WaitGroup
	err            error // of the copying; final once that has ended
}

func (c *joined) stream(w io.Writer) (_ *stream, err error) {
	s := &stream{masked: c.mask.Writer(w)}
	if s.reader, s.writer, err = os.Pipe(); err != nil {
		return nil, err
	}
	s.copying.Go(func() {
		defer crash.Recover(&s.err)
		if _, s.err = io.Copy(s.masked, s.reader); s.err != nil && !errors.Is(s.err, os.ErrDeadlineExceeded) {
			s.reader.Close() // SIGPIPE tells the program
		}
	})
	return s, nil
}

// end reads the rest, once the program has ended. Processes that it left running may hold
// the pipe open.
func (s *stream) end() error {
	err := s.writer.Close()
	_ = s.reader.SetReadDeadline(time.Now().Add(drainTime)) // an error says that it is closed
	s.copying.Wait()
	if errors.Is(s.err, os.ErrDeadlineExceeded) {
		s.err = nil
	}
	_ = s.reader.Close() // nothing was written to it
	return errors.Join(err, s.err, s.masked.Close())
}
