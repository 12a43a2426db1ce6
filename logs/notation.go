package logs

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// maxDumped is the longest line of a dump, in bytes: 256 bytes a line by xxd, with their letters.
const maxDumped = 1 << 10

// mayBeAddress reports whether a line of a stream that begins like this may be one of a dump: six digits, the fewest
// that tools print, or "0x", behind spaces. Every line of every step passes here.
func mayBeAddress(line []byte) bool {
	at := 0
	for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
		at++
	}
	end := min(len(line), at+minAddress)
	for i := at; i < end; i++ {
		if !isHexDigit[line[i]] {
			return i == at+1 && line[i] == 'x' && line[at] == '0'
		}
	}
	return len(line) <= end || isHexDigit[line[end]] || line[end] == ' ' || line[end] == ':'
}

// mayBeginAddress is mayBeAddress by the first two bytes, which most lines do not pass.
func mayBeginAddress(line []byte) bool {
	return len(line) < 2 || startsAddress[line[0]] && (startsAddress[line[1]] || line[1] == 'x')
}

// startsAddress says which bytes an address, or the space in front of one, begins with.
var startsAddress = func() (all [256]bool) {
	all = isHexDigit
	all[' '], all['\t'] = true, true
	return all
}()

// isHexDigit says which bytes are hexadecimal digits.
var isHexDigit = func() (all [256]bool) {
	for b := range all {
		all[b] = allDigits([]byte{byte(b)}, 16)
	}
	return all
}()

const minAddress, maxAddress = 6, 16

// addressOf returns the length of the address that a line of a visible text begins with, with its colon; 0 for none.
// With more, the line may be the beginning of one.
func addressOf(line []byte) (n int, colon, more bool) {
	for n < len(line) && line[n] == ' ' {
		n++
	}
	least := minAddress
	if hasPrefix(line[n:], "0x") {
		n, least = n+2, 4
	}
	digits := line[n:min(len(line), n+maxAddress+1)]
	count := 0
	for count < len(digits) && isHexDigit[digits[count]] {
		count++
	}
	n += count
	switch {
	case n == len(line):
		return 0, false, count <= maxAddress
	case count < least || count > maxAddress:
		return 0, false, false
	case line[n] == ':':
		return n + 1, true, true
	}
	if line[n] != ' ' {
		return 0, false, false
	}
	return n, false, true
}

// mayBeDumped reports whether a text may be the beginning of a line of a dump.
func mayBeDumped(line []byte) bool {
	if len(line) > maxDumped { // also one that only has spaces so far: it must not be kept without a bound
		return false
	}
	address, colon, more := addressOf(line)
	if address == 0 {
		return more
	}
	for _, notation := range notations {
		if _, ok := notation(dumped{line[address:], colon, true}); ok {
			return true
		}
	}
	return false
}

// dumped is what follows the address on a line of a dump.
type dumped struct {
	text   []byte
	colon  bool // the address ends with one, as xxd's and tcpdump's do
	isOpen bool // the line has not ended
}

// notations are the ways in which the bytes of a dump are printed. Each returns the bytes of a line, if it can be read
// in that way.
var notations = [...]func(dumped) (bytes []byte, ok bool){
	dumped.hexadecimal, // xxd, hexdump -C, od -tx1, tcpdump -X
	dumped.words,       // hexdump, od -x, xxd -e: of machines with the lowest byte first
	dumped.octal,       // od, od -b
	dumped.decimal,     // od -td1
	dumped.binary,      // xxd -b
	dumped.letters,     // od -c, hexdump -c, od -a
}

// mayBeBytes reports whether a line that has ended may be read in some notation, by the first characters behind the
// address. The measured reason: in a log, the number of a commit or an image is followed by a word, and to find that
// in each notation took a tenth of a mask's time.
func (d dumped) mayBeBytes() bool {
	first := bytes.TrimLeft(d.text, " ")
	if len(d.text)-len(first) != 1 || len(first) < 3 || first[0] == '-' || first[0] == '\\' || first[0] >= utf8.RuneSelf {
		return true
	}
	return first[1] == ' ' || first[2] == ' ' || isHexDigit[first[0]] && isHexDigit[first[1]] || isControlName(string(first[:3]))
}

// numbers calls yield with each number, up to the column of letters. One that may go on is left out. It reports whether
// yield always returned true.
func (d dumped) numbers(yield func(number []byte) bool) bool {
	first := 0
	for text := d.text; ; {
		number := bytes.TrimLeft(text, " ")
		gap := len(text) - len(number)
		end := bytes.IndexByte(number, ' ')
		switch {
		case len(number) == 0,
			first > 0 && d.colon && gap > 1 && (end < 0 || gap+end != 1+first), // letters; numbers end where those above do
			first > 0 && !d.colon && (number[0] == '|' || number[0] == '>'):
			return true
		case end < 0 && d.isOpen:
			return len(number) <= maxAddress && allDigits(bytes.TrimPrefix(number, []byte("-")), 16)
		case end < 0:
			end = len(number)
		}
		if !yield(number[:end]) {
			return false
		}
		first, text = max(first, end), number[end:]
	}
}

func (d dumped) hexadecimal() (bytes []byte, ok bool) { return d.hex(2, false) }
func (d dumped) words() (bytes []byte, ok bool)       { return d.hex(4, true) }

// hex reads numbers of some digits or more. With little, the last byte of each comes first.
func (d dumped) hex(least int, little bool) (bytes []byte, ok bool) {
	longest := 0
	ok = d.numbers(func(number []byte) bool {
		if len(number)%2 != 0 || len(number) > maxAddress || !allDigits(number, 16) {
			return false
		}
		from := len(bytes)
		for i := 0; i < len(number); i += 2 {
			b, _ := valueOf(number[i:i+2], 16)
			bytes = append(bytes, byte(b))
		}
		if little {
			slices.Reverse(bytes[from:])
		}
		longest = max(longest, len(number))
		return true
	})
	return bytes, ok && (longest >= least || d.isOpen)
}

// octal reads bytes, or words of two of which the lower one comes first.
func (d dumped) octal() (bytes []byte, ok bool) {
	ok = d.numbers(func(number []byte) bool {
		n, ok := valueOf(number, 8)
		switch {
		case !ok:
			return false
		case len(number) == 3 && n < 256:
			bytes = append(bytes, byte(n))
			return true
		}
		bytes = append(bytes, byte(n), byte(n>>8))
		return len(number) == 6
	})
	return bytes, ok
}

// decimal reads bytes, with a sign or without.
func (d dumped) decimal() (bytes []byte, ok bool) {
	ok = d.numbers(func(number []byte) bool {
		digits, isNegative := number, number[0] == '-'
		if isNegative {
			digits = number[1:]
		}
		n, ok := valueOf(digits, 10)
		if isNegative {
			n = -n
		}
		bytes = append(bytes, byte(n))
		return ok && n >= -128 && n < 256
	})
	return bytes, ok
}

// valueOf is the value of at most eight digits.
func valueOf(digits []byte, base int) (n int, ok bool) {
	if len(digits) == 0 || len(digits) > 8 || !allDigits(digits, base) {
		return 0, false
	}
	for _, c := range digits {
		digit := int(c - '0')
		if c > '9' {
			digit = int(lower(c)-'a') + 10
		}
		n = n*base + digit
	}
	return n, true
}

func (d dumped) binary() (bytes []byte, ok bool) {
	ok = d.numbers(func(number []byte) bool {
		n, ok := valueOf(number, 2)
		bytes = append(bytes, byte(n))
		return ok && len(number) == 8
	})
	return bytes, ok
}

// letters reads cells of four columns each.
func (d dumped) letters() (bytes []byte, ok bool) {
	for text := d.text; len(text) > 0; {
		end := 0
		for range 4 {
			_, size := utf8.DecodeRune(text[end:])
			end += size
		}
		cell := text[:end]
		if end == len(text) && d.isOpen {
			return bytes, len(cell) < 4 || cell[0] == ' '
		}
		bytes, ok = appendCell(bytes, cell)
		if !ok {
			return nil, false
		}
		text = text[end:]
	}
	return bytes, true
}

// appendCell appends what stands in a cell: a character, an escape, an octal number or a name of ASCII.
func appendCell(to, cell []byte) ([]byte, bool) {
	if cell[0] != ' ' {
		return nil, false
	}
	text := string(bytes.Trim(cell, " "))
	if text == "" {
		return append(to, ' '), true
	}
	if utf8.RuneCountInString(text) == 1 {
		return append(to, text...), true
	}
	if n, ok := valueOf([]byte(text), 8); ok && len(text) == 3 {
		return append(to, byte(n)), true
	}
	switch text {
	case "sp":
		return append(to, ' '), true
	case "nl", `\n`:
		return append(to, '\n'), true
	case "**": // the rest of the character in front
		return to, true
	}
	return append(to, 0), text[0] == '\\' || isControlName(text) // it shows nothing
}

// isControlName reports whether od -a prints a text for a character that shows nothing.
func isControlName(text string) bool {
	switch text {
	case "nul", "soh", "stx", "etx", "eot", "enq", "ack", "bel", "bs", "ht", "vt", "ff", "cr", "so", "si", "dle", "dc1",
		"dc2", "dc3", "dc4", "nak", "syn", "etb", "can", "em", "sub", "esc", "fs", "gs", "rs", "us", "del":
		return true
	}
	return false
}
