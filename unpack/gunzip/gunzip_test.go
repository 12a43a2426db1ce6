package gunzip_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	klauspost "github.com/klauspost/compress/gzip"

	"github.com/stepexec/stepexec/unpack/gunzip"
)

// libraries and ours decompress all of a stream. What one library refuses is refused: the standard one accepts reserved
// flags, the other one a name that is cut.
func libraries(stream []byte) (content []byte, errs []error) {
	standard, err := gzip.NewReader(bytes.NewReader(stream))
	if err == nil {
		content, err = io.ReadAll(standard)
	}
	if err != nil {
		errs = append(errs, err)
	}
	other, err := klauspost.NewReader(bytes.NewReader(stream))
	if err == nil {
		_, err = io.ReadAll(other)
	}
	if err != nil {
		errs = append(errs, err)
	}
	return content, errs
}

func ours(r io.Reader) ([]byte, error) {
	z, err := gunzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func compressed(tb testing.TB, data []byte, level int) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, level)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// member wraps a deflate stream: optional parts of the header come after the fixed ones.
func member(flags byte, optional string, deflated, content []byte) []byte {
	head := append([]byte{0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255}, optional...)
	trailer := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(content))
	return bytes.Join([][]byte{head, deflated, binary.LittleEndian.AppendUint32(trailer, uint32(len(content)))}, nil)
}

func deflated(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, 6)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// samples are contents of every kind: nothing, noise, text, runs, matches from far back.
func samples() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var text, skewed bytes.Buffer
	for i := range 60_000 {
		fmt.Fprintf(&text, "line %d of %d\n", i*i, i)
	}
	for range 400_000 { // many lengths of codes, the longest ones too
		skewed.WriteByte(byte(min(255, random.ExpFloat64()*8)))
	}
	far := bytes.Join([][]byte{noise[:32<<10], noise[:32<<10], noise[:20], noise[:32<<10]}, nil)
	return map[string][]byte{
		"nothing": nil, "a byte": {7}, "noise": noise, "text": text.Bytes(), "skewed": skewed.Bytes(), "far": far,
		"zeros":   make([]byte, 1_000_000),
		"periods": []byte(strings.Repeat("ab", 5000) + strings.Repeat("abc", 5000) + strings.Repeat("abcdefg", 5000) + strings.Repeat("abcdefghi", 5000)),
	}
}

func TestDecompresses(t *testing.T) {
	for name, data := range samples() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, gzip.BestSpeed, 6, gzip.BestCompression} {
			t.Run(fmt.Sprint(name, " at level ", level), func(t *testing.T) {
				stream := compressed(t, data, level)
				for way, r := range map[string]io.Reader{
					"whole":           bytes.NewReader(stream),
					"by the byte":     iotest.OneByteReader(bytes.NewReader(stream)),
					"data with error": iotest.DataErrReader(bytes.NewReader(stream)),
					"by halves":       iotest.HalfReader(bytes.NewReader(stream)),
				} {
					got, err := ours(r)
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("%s: got %d bytes, error %v, want %d bytes", way, len(got), err, len(data))
					}
				}
			})
		}
	}
}

func TestSmallReads(t *testing.T) {
	data := samples()["text"]
	z, err := gunzip.NewReader(bytes.NewReader(compressed(t, data, 6)))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(z, data); err != nil {
		t.Error(err)
	}
}

// Members, headers and what is wrong with a stream are judged as by the libraries.
func TestJudgesLikeTheLibraries(t *testing.T) {
	data := samples()["text"][:50_000]
	raw := deflated(t, data)
	gz := member(0, "", raw, data)
	empty := member(0, "", deflated(t, nil), nil)
	flip := func(at int) []byte { c := bytes.Clone(gz); c[at] ^= 0x10; return c }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	headerCRC := binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE([]byte{0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 255})))
	for name, stream := range map[string][]byte{
		"no byte":                  {},
		"one member":               gz,
		"two members":              join(gz, gz),
		"empty members":            join(empty, gz, empty, empty),
		"garbage after it":         join(gz, []byte("garbage")),
		"much garbage after it":    join(gz, []byte(strings.Repeat("garbage", 1000))),
		"a zero after it":          join(gz, []byte{0}),
		"zeros after it":           join(gz, make([]byte, 512)),
		"a broken second member":   join(gz, flip(len(gz)-6)),
		"half a second header":     join(gz, gz[:5]),
		"a name":                   member(8, "name\x00", raw, data),
		"a name of 511 bytes":      member(8, strings.Repeat("n", 511)+"\x00", raw, data),
		"a name of 512 bytes":      member(8, strings.Repeat("n", 512)+"\x00", raw, data),
		"a comment":                member(16, "comment\x00", raw, data),
		"a name and a comment":     member(24, "name\x00comment\x00", raw, data),
		"half a name":              member(8, "name", nil, nil)[:14],
		"half a second name":       join(gz, member(8, "name", nil, nil)[:14]),
		"an extra field":           member(4, "\x05\x00hello", raw, data),
		"an extra field of 64 KiB": member(4, "\xff\xff"+strings.Repeat("x", 65535), raw, data),
		"half an extra field":      member(4, "\x05\x00he", nil, nil)[:14],
		"header checksum":          member(2, string(headerCRC), raw, data),
		"wrong header checksum":    member(2, "zz", raw, data),
		"reserved flag":            member(0x20, "", raw, data),
		"another method":           flip(2),
		"another magic":            flip(0),
		"wrong checksum":           flip(len(gz) - 6),
		"wrong size":               flip(len(gz) - 1),
		"a byte too little":        gz[:len(gz)-1],
		"no trailer":               gz[:len(gz)-8],
		"half of it":               gz[:len(gz)/2],
		"header only":              gz[:10],
		"half a header":            gz[:9],
		"block type 3":             member(0, "", []byte{7}, nil),
		"wrong stored size":        member(0, "", []byte{1, 1, 0, 0, 0, 'x'}, nil),
		"cut stored block":         member(0, "", []byte{1, 1, 0, 0xfe, 0xff}, nil)[:15],
		"match before the start":   member(0, "", []byte{0x63, 0x00, 0x02, 0x00}, []byte{0}),
		"lengths that are no code": member(0, "", []byte{5, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nil),
	} {
		t.Run(name, func(t *testing.T) { compare(t, stream) })
	}
	for at := range 200 { // every byte of the header of the block too
		compare(t, flip(at))
	}
	for n := range 300 {
		compare(t, gz[:n])
	}
}

// compare fails unless ours says of the stream what the libraries say. They pass on what comes before an error;
// here that may be less.
func compare(t *testing.T, stream []byte) {
	t.Helper()
	want, errs := libraries(stream)
	got, err := ours(bytes.NewReader(stream))
	if (err == nil) != (len(errs) == 0) || err != nil && !slices.ContainsFunc(errs, func(e error) bool { return kind(e) == kind(err) }) {
		t.Errorf("error %v, the libraries' are %v", err, errs)
	}
	if !bytes.HasPrefix(want, got) || err == nil && len(got) != len(want) {
		t.Errorf("got %d bytes that are not the library's %d", len(got), len(want))
	}
}

// kind is the message without an offset.
func kind(err error) string {
	text, _, _ := strings.Cut(err.Error(), " before offset")
	return text
}

func TestPassesTheSourcesErrorOn(t *testing.T) {
	data := samples()["text"]
	stream := compressed(t, data, 6)
	broken := errors.New("connection broken")
	for _, n := range []int{0, 5, 10, 1000, len(stream) - 3, len(stream)} {
		_, err := ours(io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: got error %v", n, err)
		}
	}
}

func FuzzJudgesLikeTheLibraries(f *testing.F) {
	for _, data := range samples() {
		data = data[:min(len(data), 20_000)]
		for _, level := range []int{gzip.HuffmanOnly, 0, 1, 9} {
			f.Add(compressed(f, data, level))
		}
	}
	f.Add(member(0, "", []byte{0x63, 0x00, 0x02, 0x00}, []byte{0}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		compare(t, stream)
		// The same bytes as a deflate stream: the fuzzer does not find the checksums by itself.
		content, _ := io.ReadAll(flate.NewReader(bytes.NewReader(stream)))
		compare(t, member(0, "", stream, content))
	})
}

func BenchmarkGunzip(b *testing.B) {
	data := bytes.Repeat(samples()["text"], 4)
	stream := compressed(b, data, 6)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		z, err := gunzip.NewReader(bytes.NewReader(stream))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, z); err != nil {
			b.Fatal(err)
		}
	}
}
