package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/joho/godotenv"
)

// maxEnvFile keeps an env file like /dev/zero from filling the memory.
const maxEnvFile = 1 << 20

// ReadEnvFile returns the variables of a dotenv file as NAME=value, sorted. Its
// errors never quote the file, which may hold secrets.
func ReadEnvFile(name string) (entries []string, err error) { return readEnvFile(name, os.Open) }

func readEnvFile(name string, open func(string) (*os.File, error)) (entries []string, err error) {
	data, err := readBounded(name, open, maxEnvFile)
	if err != nil {
		return nil, fmt.Errorf("read env file: %w", err)
	}
	variables, err := godotenv.UnmarshalBytes(data)
	if err != nil {
		// The error of godotenv quotes the file, which may hold secrets.
		return nil, fmt.Errorf("read env file %s: not in dotenv form: it takes lines of NAME=value, and quotes must match", name)
	}
	for key, text := range variables {
		if err := checkVariable(key); err != nil {
			return nil, fmt.Errorf("read env file %s: %w", name, err)
		}
		entries = append(entries, key+"="+text)
	}
	slices.Sort(entries)
	return entries, nil
}

func readBounded(name string, open func(string) (*os.File, error), limit int64) (data []byte, err error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: larger than %d MiB", name, limit>>20)
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}
