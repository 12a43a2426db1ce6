package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stepexec/stepexec/signature"
)

// MaxSize bounds a file with statements, in bytes: an artifact may have many files.
const MaxSize = 64 << 20

// Envelope is a DSSE envelope (DSSE, "envelope").
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// Signature is one of an envelope's.
type Signature struct {
	KeyID string `json:"keyid,omitempty"` // a hint, which proves nothing
	Sig   []byte `json:"sig"`
}

// Sign returns a statement in an envelope that the key has signed, as a line of JSON.
func Sign(s *Statement, key signature.PrivateKey) ([]byte, error) {
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	e, err := key.Sign(PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("sign the provenance: %w", err)
	}
	line, err := json.Marshal(Envelope{e.PayloadType, e.Payload, []Signature{{Sig: e.Signature}}})
	return append(line, '\n'), err
}

// Errors of Verify for text that holds no statement which can be relied on.
var (
	ErrUnsigned = errors.New("the provenance is not signed")
	ErrWrongKey = errors.New("no signature of the provenance is of a given key")
)

// Verify returns the statements in text, an envelope a line or a single one of any form, of which
// each must be signed by one of the keys. The error can wrap ErrUnsigned or ErrWrongKey; it says
// which envelope is wrong.
func Verify(text []byte, keys []signature.Key) ([]*Statement, error) {
	var all []*Statement
	decoder := json.NewDecoder(bytes.NewReader(text))
	for {
		var one json.RawMessage
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		var s *Statement
		if err == nil {
			s, err = verifyOne(one, keys)
		}
		if err != nil {
			return nil, fmt.Errorf("envelope %d: %w", len(all)+1, err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, errors.New("the file is empty")
	}
	return all, nil
}

func verifyOne(text []byte, keys []signature.Key) (*Statement, error) {
	var e Envelope
	if err := decode(text, &e); err != nil {
		return nil, err
	}
	switch {
	case e.PayloadType == "" && len(e.Signatures) == 0:
		return nil, fmt.Errorf("%w (run with --sign-key)", ErrUnsigned)
	case e.PayloadType != PayloadType:
		return nil, fmt.Errorf("the payload is of type %.100q, not %q", e.PayloadType, PayloadType)
	case len(e.Signatures) == 0:
		return nil, ErrUnsigned
	}
	if !signed(e, keys) {
		return nil, ErrWrongKey
	}
	return parse(e.Payload)
}

func signed(e Envelope, keys []signature.Key) bool {
	for _, s := range e.Signatures {
		for _, key := range keys {
			if key.Verifies(signature.Evidence{PayloadType: e.PayloadType, Payload: e.Payload, Signature: s.Sig}) {
				return true
			}
		}
	}
	return false
}

// parse reads a statement and checks that it is one of a build by stepexec.
func parse(payload []byte) (*Statement, error) {
	s := &Statement{}
	if err := decode(payload, s); err != nil {
		return nil, fmt.Errorf("the statement: %w", err)
	}
	switch {
	case s.Type != StatementType:
		return nil, fmt.Errorf("the statement is of type %.100q, not %q", s.Type, StatementType)
	case s.PredicateType != PredicateType:
		return nil, fmt.Errorf("the statement says %.100q, not %q", s.PredicateType, PredicateType)
	case s.Predicate.Definition.BuildType != BuildType:
		return nil, fmt.Errorf("the build is of type %.100q, not %q", s.Predicate.Definition.BuildType, BuildType)
	case len(s.Subject) == 0:
		return nil, errors.New("the statement has no subject")
	}
	for _, subject := range s.Subject {
		if len(subject.Digest["sha256"]) != 64 {
			return nil, fmt.Errorf("the subject %.100q has no SHA-256", subject.Name)
		}
	}
	return s, nil
}

// decode reads JSON in which no object names a key twice, in whatever case: two readers could each
// take another one.
func decode(text []byte, into any) error {
	if !json.Valid(text) { // it bounds the depth, too
		return errors.New("it is not JSON")
	}
	if err := unique(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// unique reads one value of valid JSON and returns an error for a key that comes twice.
func unique(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	open, composed := token.(json.Delim)
	if !composed {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if open == '{' {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			folded := strings.ToLower(strings.ToUpper(fmt.Sprint(name))) // as encoding/json compares them
			if seen[folded] {
				return fmt.Errorf("the key %.100q comes twice", name)
			}
			seen[folded] = true
		}
		if err := unique(decoder); err != nil {
			return err
		}
	}
	_, err = decoder.Token() // the end of the object or array
	return err
}
