package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	// secretCommandPrefix begins the value of a --secret that is the output of a command.
	secretCommandPrefix = "cmd:"
	// secretCommandTime bounds how long such a command may take: it may ask a person for a password.
	secretCommandTime = 2 * time.Minute
	// maxSecretOutput is the most bytes that such a command may print.
	maxSecretOutput = 1 << 20
)

// secretsFromCommands returns the entries NAME[=VALUE] of --secret; each NAME=cmd:COMMAND becomes
// NAME=output of COMMAND. A preview does not run commands: it has no value for such a secret.
func secretsFromCommands(ctx context.Context, list []string, preview bool) ([]string, error) {
	var entries []string
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		command, isCommand := strings.CutPrefix(value, secretCommandPrefix)
		switch {
		case !isCommand || name == "": // the latter is refused with the rest
			entries = append(entries, entry)
		case !preview:
			output, err := secretCommand(ctx, command)
			if err != nil {
				return nil, fmt.Errorf("--secret %s: %w", name, err)
			}
			entries = append(entries, name+"="+output)
		}
	}
	return entries, nil
}

// secretCommand returns what a shell command prints, without the line end behind it. The errors show
// none of the command's output, which may hold the secret, and not the command either.
func secretCommand(ctx context.Context, command string) (string, error) {
	if strings.TrimSpace(command) == "" {
		return "", errors.New("the command behind cmd: is missing")
	}
	ctx, cancel := context.WithTimeout(ctx, secretCommandTime)
	defer cancel()
	output := &boundedOutput{stop: cancel}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout = output
	cmd.WaitDelay = time.Second // for what it has left running with its output; it stays in the terminal's group, to ask for a password
	err := cmd.Run()
	text := strings.TrimSuffix(strings.TrimSuffix(output.text.String(), "\n"), "\r")
	switch {
	case output.full:
		return "", fmt.Errorf("the command prints more than %d bytes", maxSecretOutput)
	case ctx.Err() == context.DeadlineExceeded:
		return "", fmt.Errorf("the command has not ended within %v", secretCommandTime)
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", fmt.Errorf("the command failed: %w (its output is not shown, for it may hold the secret; run the command by itself)", err)
	case text == "":
		return "", errors.New("the command printed nothing")
	case strings.ContainsRune(text, 0):
		return "", errors.New("the command printed a NUL byte, which no variable can hold")
	}
	return text, nil
}

// boundedOutput holds what a command prints, and stops the command when it is too much.
type boundedOutput struct {
	text bytes.Buffer
	full bool
	stop func()
}

func (b *boundedOutput) Write(data []byte) (int, error) {
	if b.text.Len()+len(data) > maxSecretOutput {
		b.full = true
		b.stop()
		return 0, errors.New("too much output")
	}
	return b.text.Write(data)
}
