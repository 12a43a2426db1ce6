package github

import (
	"errors"
	"io"
	"os"
)

// spoolMemory bounds the bytes of a step's output that wait in memory; the rest waits in a file
// without a name.
const spoolMemory = 1 << 20

// spool keeps the output of a step while the output of another is shown.
type spool struct {
	memory []byte
	file   *os.File
	size   int64 // of all that waits, in bytes
}

func (s *spool) Write(data []byte) (int, error) {
	s.memory = append(s.memory, data...)
	s.size += int64(len(data))
	if len(s.memory) < spoolMemory {
		return len(data), nil
	}
	if s.file == nil {
		file, err := os.CreateTemp("", "stepexec-output-")
		if err != nil {
			return 0, err
		}
		if err := os.Remove(file.Name()); err != nil {
			return 0, errors.Join(err, file.Close())
		}
		s.file = file
	}
	_, err := s.file.Write(s.memory)
	s.memory = s.memory[:0]
	return len(data), err
}

// drain writes everything to w and empties the spool.
func (s *spool) drain(w io.Writer) error {
	if s.file != nil {
		_, err := s.file.Seek(0, io.SeekStart)
		if err == nil {
			_, err = io.Copy(w, s.file)
		}
		err = errors.Join(err, s.file.Close())
		s.file = nil
		if err != nil {
			return err
		}
	}
	_, err := w.Write(s.memory)
	s.memory, s.size = nil, 0
	return err
}
