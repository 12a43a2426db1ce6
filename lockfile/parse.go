package lockfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// maxSize bounds the file. One of a thousand images has 150 KB.
const maxSize = 4 << 20

// An Error says where a lock file is wrong, and how.
type Error struct {
	File    string
	Line    int // counts from 1
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: %s (write it anew: stepexec lock)", e.File, e.Line, e.Message)
}

// Parse parses a lock file; name is for messages. The format is taken strictly, unknown and repeated keys are
// refused: what is not understood must not unlock an image. Errors are *Error.
func Parse(name string, data []byte) (Images, error) {
	p := &parser{name: name, data: data, decoder: json.NewDecoder(bytes.NewReader(data))}
	p.decoder.UseNumber()
	images, err := p.file()
	if err != nil {
		return nil, err
	}
	return images, nil
}

type parser struct {
	name    string
	data    []byte
	decoder *json.Decoder
}

func (p *parser) file() (Images, error) {
	if len(p.data) > maxSize {
		return nil, p.fail("the file has %d bytes, more than the %d allowed", len(p.data), maxSize)
	}
	if !utf8.Valid(p.data) {
		return nil, p.fail("the file is not UTF-8")
	}
	var images Images
	versioned := false
	err := p.object(func(key string) (err error) {
		switch key {
		case "version":
			versioned = true
			return p.version()
		case "images":
			images, err = p.images()
			return err
		}
		return p.fail("unknown key %q", key)
	})
	switch {
	case err != nil:
		return nil, err
	case !versioned:
		return nil, p.fail(`key "version" is missing`)
	case images == nil:
		return nil, p.fail(`key "images" is missing`)
	}
	if _, err := p.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, p.fail("something follows the end of the lock file")
	}
	return images, nil
}

func (p *parser) version() error {
	token, err := p.token()
	if err != nil {
		return err
	}
	if number, ok := token.(json.Number); !ok || number.String() != fmt.Sprint(version) {
		return p.fail("version %v is not known: this stepexec reads version %d", token, version)
	}
	return nil
}

func (p *parser) images() (Images, error) {
	images := Images{}
	err := p.object(func(image string) error {
		if image == "" {
			return p.fail("the name of the image is empty")
		}
		images[image] = map[string]digest.Digest{}
		err := p.object(func(platform string) error { return p.entry(images, image, platform) })
		if err == nil && len(images[image]) == 0 {
			return p.fail("image %q is locked for no platform", image)
		}
		return err
	})
	return images, err
}

// platformPattern is OS/ARCH or OS/ARCH/VARIANT.
var platformPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9_.]+)?$`) })

func (p *parser) entry(images Images, image, platform string) error {
	if !platformPattern().MatchString(platform) {
		return p.fail("platform %q is not OS/ARCH or OS/ARCH/VARIANT", platform)
	}
	token, err := p.token()
	if err != nil {
		return err
	}
	text, ok := token.(string)
	d := digest.Digest(text)
	if !ok || d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return p.fail("%v is not a digest (sha256: and 64 lower case hex digits)", token)
	}
	images.Set(image, platform, d)
	return nil
}

// object reads an object and calls member for every key of it; member reads the value.
func (p *parser) object(member func(key string) error) error {
	token, err := p.token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return p.fail("expected an object, { ... }")
	}
	seen := map[string]bool{}
	for {
		token, err := p.token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return nil // the decoder lets nothing but the closing brace stand in the place of a key
		}
		if seen[key] {
			return p.fail("duplicate key %q", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
}

func (p *parser) token() (json.Token, error) {
	token, err := p.decoder.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, p.failAt(int64(len(bytes.TrimRight(p.data, "\n"))), "the file ends too early")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return nil, p.failAt(syntax.Offset, "not JSON: %v", err)
	}
	if err != nil {
		return nil, p.fail("not JSON: %v", err)
	}
	return token, nil
}

// fail reports an error where the last token ends.
func (p *parser) fail(format string, args ...any) error {
	return p.failAt(p.decoder.InputOffset(), format, args...)
}

func (p *parser) failAt(offset int64, format string, args ...any) error {
	offset = min(max(offset, 0), int64(len(p.data)))
	line := 1 + bytes.Count(p.data[:offset], []byte("\n"))
	return &Error{File: p.name, Line: line, Message: fmt.Sprintf(format, args...)}
}
