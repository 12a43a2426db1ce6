package doctor

import (
	"bytes"
	"encoding/binary"
	"runtime"
)

// tinyProgram returns an executable for Linux that only exits with a code: an ELF header (elf(5)),
// one segment, and the system call. Unlike stepexec, which may need libraries, it runs in an empty
// container.
func tinyProgram(code byte) (program []byte, ok bool) {
	var machine uint16
	var text []byte
	switch runtime.GOARCH {
	case "amd64":
		machine = 62 // EM_X86_64
		text = []byte{
			0xbf, code, 0, 0, 0, // mov edi, code
			0xb8, 60, 0, 0, 0, // mov eax, SYS_exit
			0x0f, 0x05, // syscall
		}
	case "arm64":
		machine = 183                                                             // EM_AARCH64
		text = binary.LittleEndian.AppendUint32(text, 0xd2800000|uint32(code)<<5) // mov x0, code
		text = binary.LittleEndian.AppendUint32(text, 0xd2800ba8)                 // mov x8, 93 (SYS_exit)
		text = binary.LittleEndian.AppendUint32(text, 0xd4000001)                 // svc 0
	default:
		return nil, false
	}
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(text))
	var out bytes.Buffer
	out.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, field := range []any{
		uint16(2), machine, uint32(1), uint64(base + headers), uint64(64), uint64(0), uint32(0), // an executable, its entry, its segments
		uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0), // sizes of headers, one segment
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // to be loaded, to be read and executed
	} {
		_ = binary.Write(&out, binary.LittleEndian, field) // a bytes.Buffer never fails
	}
	return append(out.Bytes(), text...), true
}
