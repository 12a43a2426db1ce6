package sandbox

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// machineOfProcess is the architecture of the program that runs this test.
func machineOfProcess(t *testing.T) elf.Machine {
	t.Helper()
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return file.Machine
}

// elfProgram is the head of an ELF program of 64 bits: its header and, with a loader, the segment that
// names it.
func elfProgram(machine elf.Machine, order binary.ByteOrder, loader string) string {
	head := make([]byte, 64+56)
	copy(head, elf.ELFMAG)
	head[elf.EI_CLASS], head[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	if order == binary.BigEndian {
		head[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	order.PutUint16(head[16:], uint16(elf.ET_EXEC))
	order.PutUint16(head[18:], uint16(machine))
	if loader == "" {
		return string(head)
	}
	order.PutUint64(head[32:], 64) // e_phoff
	order.PutUint16(head[54:], 56) // e_phentsize
	order.PutUint16(head[56:], 1)  // e_phnum
	segment := head[64:]
	order.PutUint32(segment, uint32(elf.PT_INTERP))
	order.PutUint64(segment[8:], uint64(len(head)))
	order.PutUint64(segment[32:], uint64(len(loader)+1))
	return string(head) + loader + "\x00"
}

func TestDiagnosisOfAProgramThatTheKernelRefuses(t *testing.T) {
	here := machineOfProcess(t)
	foreign, name := elf.EM_S390, "s390x"
	if here == foreign {
		foreign, name = elf.EM_X86_64, "amd64"
	}
	for _, test := range []struct {
		name, content string
		code          int
		want          string // a part of it; "": nothing is wrong
	}{
		{"a static program", elfProgram(here, binary.NativeEndian, ""), 0, ""},
		{"another architecture", elfProgram(foreign, binary.LittleEndian, ""), 126, "is a program for " + name + ", and this machine runs "},
		{"another byte order", elfProgram(elf.EM_MIPS, binary.BigEndian, "/lib/ld.so.1"), 126, "is a program for mips, "},
		{"an unknown architecture", elfProgram(elf.EM_VAX, binary.LittleEndian, ""), 126, "is a program for EM_VAX, "},
		{"a loader", elfProgram(here, binary.NativeEndian, "/lib/there.so"), 0, ""},
		{"a missing loader", elfProgram(here, binary.NativeEndian, "/lib/ld-musl.so.1"), 127, "asks for the loader /lib/ld-musl.so.1, which is not there"},
		{"half a header", elfProgram(here, binary.NativeEndian, "")[:40], 126, "cut short"},
		{"a segment behind the end", elfProgram(here, binary.NativeEndian, "/lib/x")[:122], 0, ""},
		{"a script", "#!/lib/there.so\n", 0, ""},
		{"CRLF", "#!/lib/there.so\r\necho\r\n", 127, `line ends of Windows, so that its first line asks for "/lib/there.so\r"`},
		{"CRLF behind an argument", "#!/lib/there.so -e\r\n", 127, "line ends of Windows"},
		{"a missing interpreter", "#! /opt/perl -w\n", 127, "asks for the interpreter /opt/perl in its first line, which is not there"},
		{"an interpreter that is a directory", "#!/lib\n", 126, "which is not executable"},
		{"no interpreter", "#!\n", 126, "names no interpreter"},
		{"a script of itself", "#!/program\n", 126, "a script whose interpreters are scripts"},
		{"a byte order mark", "\ufeff#!/lib/there.so\n", 126, "byte order mark"},
		{"a text", "echo hi\n", 126, "text without #! in its first line"},
		{"an empty file", "", 126, "is an empty file"},
		{"Windows", "MZ\x90\x00", 126, "program for Windows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "lib"), 0o755); err != nil {
				t.Fatal(err)
			}
			for file, content := range map[string]string{"lib/there.so": elfProgram(here, binary.NativeEndian, ""), "program": test.content} {
				if err := os.WriteFile(filepath.Join(root, file), []byte(content), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			fault := diagnose(root, &specs.Process{Args: []string{"/program"}, Cwd: "/"})
			switch {
			case fault == nil && test.want == "":
			case fault == nil || test.want == "" || fault.code != test.code || !strings.Contains(fault.why, test.want):
				t.Errorf("got %+v, want %d and %q", fault, test.code, test.want)
			}
		})
	}
}
