package forkserver

import "errors"

// Request is a program to be executed.
type Request struct {
	Dir       string // absolute
	Args, Env []string
}

const (
	wordSize   = 4       // bytes of a number in a request
	maxRequest = 4 << 20 // bytes; the kernel passes no more than half of it to a program (execve(2))
)

var errRequest = errors.New("the request is malformed")

// Encode returns a request as it is sent, or false if the process could not execute it as the
// runtime would. All numbers have 4 bytes, the lowest first:
//
//	request = size of the rest, number of arguments, text of Dir, texts of Args, texts of Env
//	text    = number of bytes, bytes
func (r *Request) Encode() (data []byte, ok bool) {
	if len(r.Args) == 0 || len(r.Dir) == 0 || r.Dir[0] != '/' {
		return nil, false
	}
	for _, variable := range r.Env {
		if index(variable, '=') < 1 {
			return nil, false
		}
	}
	data = appendNumber(make([]byte, wordSize), len(r.Args))
	for _, texts := range [][]string{{r.Dir}, r.Args, r.Env} {
		for _, text := range texts {
			if index(text, 0) >= 0 || len(data)+wordSize+len(text) > maxRequest {
				return nil, false
			}
			data = append(appendNumber(data, len(text)), text...)
		}
	}
	copy(data, appendNumber(nil, len(data)-wordSize))
	return data, true
}

func appendNumber(data []byte, n int) []byte {
	return append(data, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// parse reads what Encode has written after the size.
func parse(data []byte) (r Request, err error) {
	count, data, ok := cutNumber(data)
	var texts []string
	for ok && len(data) > 0 {
		var size int
		if size, data, ok = cutNumber(data); ok && size <= len(data) {
			texts, data = append(texts, string(data[:size])), data[size:]
		} else {
			ok = false
		}
	}
	if !ok || count < 1 || len(texts) <= count {
		return r, errRequest
	}
	return Request{Dir: texts[0], Args: texts[1 : count+1], Env: texts[count+1:]}, nil
}

// cutNumber splits off a number, which is at most maxRequest.
func cutNumber(data []byte) (n int, rest []byte, ok bool) {
	if len(data) < wordSize {
		return 0, nil, false
	}
	number := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
	return int(number), data[wordSize:], number <= maxRequest
}

// variable returns a variable of the program's environment, or "".
func (r *Request) variable(name string) string {
	for _, variable := range r.Env {
		if at := index(variable, '='); at >= 0 && variable[:at] == name {
			return variable[at+1:]
		}
	}
	return ""
}

// index returns the place of a byte in a text, or -1. Package strings would make this package one of
// the last to be initialised.
func index(text string, b byte) int {
	for i := range len(text) {
		if text[i] == b {
			return i
		}
	}
	return -1
}
