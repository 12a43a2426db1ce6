package logs

// Printable returns how many bytes of printable ASCII a text begins with. The measured reason for looking at eight
// at once: every line is looked at by the screen and by the record, and a byte each took a fifth of their time.
func Printable(text string) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; n+8 <= len(text); n += 8 {
		t := text[n : n+8]
		w := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56 // the compiler makes one load of it
		if ((w-' '*each)|(w+each)|w)&high != 0 { // a byte is below ' ', is 0x7f, or is above
			break
		}
	}
	for n < len(text) && text[n] >= ' ' && text[n] <= '~' {
		n++
	}
	return n
}
