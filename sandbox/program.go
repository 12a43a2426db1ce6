package sandbox

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxString is the size from which the kernel refuses an argument or a variable, including the
// variable's name and the closing zero byte: MAX_ARG_STRLEN of execve(2).
const maxString = 128 << 10

// maxInterpreters is the number of scripts interpreting one another that the kernel follows.
const maxInterpreters = 4

// programFault says why the kernel cannot execute a program, and what to do about it.
type programFault struct {
	code int // 126 or 127, as in a shell
	why  string
}

func unfit(format string, args ...any) *programFault {
	return &programFault{126, fmt.Sprintf(format, args...)}
}

// diagnose looks for the reason why the kernel would refuse to execute the process in root, a
// folder that may be /proc/PID/root. A nil result does not prove that there is none. It only
// explains: processName decides whether a program was executed.
func diagnose(root string, process *specs.Process) *programFault {
	for _, variable := range process.Env {
		if name, _, _ := strings.Cut(variable, "="); len(variable)+1 > maxString {
			return unfit("the variable %s has %d bytes, and the kernel passes at most %d to a program (pass it as a file: type: file of a secret, or a file in the workspace)",
				name, len(variable)-len(name)-1, maxString-2-len(name))
		}
	}
	if fault := diagnoseTotal(process); fault != nil {
		return fault
	}
	for i, argument := range process.Args {
		if len(argument)+1 > maxString {
			return unfit("its argument %d has %d bytes, and the kernel passes at most %d (pass it in a file)", i, len(argument), maxString-1)
		}
	}
	name := findProgram(root, process)
	if name == "" {
		return nil
	}
	return diagnoseFile(root, process.Cwd, name, maxInterpreters)
}

// maxTotal is the kernel's limit in bytes for arguments and variables together, each with a zero
// byte and a pointer: a quarter of the stack limit, which is 8 MiB nearly everywhere, and never
// more than three quarters of 8 MiB (execve(2)).
const maxTotal = 2 << 20

// diagnoseTotal reports arguments and variables that together exceed maxTotal.
func diagnoseTotal(process *specs.Process) *programFault {
	const pointer = 8
	total, longest, name := 0, 0, ""
	for _, argument := range process.Args {
		total += len(argument) + 1 + pointer
	}
	for _, variable := range process.Env {
		total += len(variable) + 1 + pointer
		if len(variable) > longest {
			longest = len(variable)
			name, _, _ = strings.Cut(variable, "=")
		}
	}
	if total <= maxTotal {
		return nil
	}
	return unfit("its arguments and variables have %d bytes together, and the kernel passes about %d (the longest variable is %s with %d bytes: pass it as a file)", total, maxTotal, name, longest)
}

// findProgram looks up a command as execvp(3) does; "" means that it does not exist.
func findProgram(root string, process *specs.Process) string {
	command := process.Args[0]
	if strings.Contains(command, "/") {
		return command
	}
	dirs := ""
	for _, variable := range process.Env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			dirs = value
		}
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		name := path.Join(absolute(process.Cwd, dir), command)
		file, err := openInRootfs(root, name, unix.O_PATH)
		if err != nil {
			continue
		}
		info, err := file.Stat()
		_ = file.Close()
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return name
		}
	}
	return ""
}

func absolute(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", dir, name)
}

// diagnoseFile judges a program by its first bytes, as the kernel's loaders do.
func diagnoseFile(root, dir, name string, interpreters int) *programFault {
	file, err := openRegular(root, absolute(dir, name))
	if err != nil {
		return nil
	}
	defer file.Close()
	head := make([]byte, 256) // BINPRM_BUF_SIZE: the part of a script's first line that the kernel reads
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	head = head[:n]
	switch {
	case n == 0:
		return unfit("%s is an empty file", name)
	case bytes.HasPrefix(head, []byte("#!")):
		return diagnoseScript(root, dir, name, head, interpreters)
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return diagnoseELF(root, name, head, file)
	case bytes.HasPrefix(head, []byte("MZ")):
		return unfit("%s is a program for Windows", name)
	case bytes.HasPrefix(head, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(head, []byte("\xca\xfe\xba\xbe")):
		return unfit("%s is a program for macOS (or a class of Java)", name)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf#!")):
		return unfit("%s has a byte order mark before its #! (save it as UTF-8 without one)", name)
	case bytes.IndexByte(head, 0) < 0:
		return unfit("%s is a text without #! in its first line (begin it with #!/bin/sh, or run it as: sh %s)", name, name)
	}
	return unfit("%s is no program that this machine knows", name)
}

// openRegular opens a regular file in root for reading. It opens the file that it has checked, not
// its name, which could change.
func openRegular(root, name string) (*os.File, error) {
	place, err := openInRootfs(root, name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	if info, err := place.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, os.ErrInvalid)
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", place.Fd()))
}

// diagnoseScript checks the interpreter that a script's first line names.
func diagnoseScript(root, dir, name string, head []byte, interpreters int) *programFault {
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	returns := bytes.HasSuffix(line, []byte("\r"))
	words := strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' || r == 0 })
	if len(words) == 0 {
		return unfit("%s names no interpreter behind #! in its first line", name)
	}
	if returns {
		return &programFault{127, fmt.Sprintf("%s has line ends of Windows, so that its first line asks for %q "+
			`(convert it: sed -i 's/\r$//' FILE; in git: "* text=auto eol=lf" in .gitattributes)`, name, words[len(words)-1])}
	}
	file, err := openInRootfs(root, absolute(dir, words[0]), unix.O_PATH)
	if err != nil {
		return &programFault{127, fmt.Sprintf("%s asks for the interpreter %s in its first line, which is not there "+
			"(add it to the image, or name one that the image has)", name, words[0])}
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return unfit("%s asks for the interpreter %s in its first line, which is not executable", name, words[0])
	case interpreters == 0:
		return unfit("%s is a script whose interpreters are scripts, more than %d of them", name, maxInterpreters)
	}
	return diagnoseFile(root, dir, words[0], interpreters-1)
}

// diagnoseELF checks a program's architecture and the loader that it asks for (elf(5)).
func diagnoseELF(root, name string, head []byte, file io.ReaderAt) *programFault {
	if len(head) < 64 {
		return unfit("%s is a program that is cut short", name)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		order = binary.BigEndian
	}
	machine := elf.Machine(order.Uint16(head[18:]))
	if !runsHere(machine) {
		return unfit("%s is a program for %s, and this machine runs %s (use the image's %s variant with platform: linux/%s, "+
			"or install handlers for other machines, such as Debian's qemu-user-static with binfmt-support; stepexec doctor lists those that are there)",
			name, Architecture(machine), runtime.GOARCH, runtime.GOARCH, runtime.GOARCH)
	}
	if loader := loaderOf(head, order, file); loader != "" {
		there, err := openInRootfs(root, loader, unix.O_PATH)
		if err != nil {
			return &programFault{127, fmt.Sprintf("%s asks for the loader %s, which is not there "+
				"(link it statically, or use an image with the C library that it was built for)", name, loader)}
		}
		_ = there.Close()
	}
	return nil
}

// machines maps the architectures of programs to Go's names for them.
var machines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_386: "386", elf.EM_AARCH64: "arm64", elf.EM_ARM: "arm", elf.EM_PPC64: "ppc64le",
	elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64", elf.EM_LOONGARCH: "loong64", elf.EM_MIPS: "mips",
}

// Architecture returns Go's name of a program's architecture, such as arm64, or that of elf(5) where Go
// has none.
func Architecture(machine elf.Machine) string {
	if name, ok := machines[machine]; ok {
		return name
	}
	return machine.String()
}

// runsHere reports whether the processor can run such programs, if the kernel allows it.
func runsHere(machine elf.Machine) bool {
	switch runtime.GOARCH {
	case "amd64":
		return machine == elf.EM_X86_64 || machine == elf.EM_386
	case "arm64":
		return machine == elf.EM_AARCH64 || machine == elf.EM_ARM
	}
	return Architecture(machine) == runtime.GOARCH
}

// loaderOf returns the path in the program's PT_INTERP segment, or "" if it has none.
func loaderOf(head []byte, order binary.ByteOrder, file io.ReaderAt) string {
	wide := head[elf.EI_CLASS] == byte(elf.ELFCLASS64)
	var table int64
	var size, count int
	if wide {
		table, size, count = int64(order.Uint64(head[32:])), int(order.Uint16(head[54:])), int(order.Uint16(head[56:]))
	} else {
		table, size, count = int64(order.Uint32(head[28:])), int(order.Uint16(head[42:])), int(order.Uint16(head[44:]))
	}
	for i := range min(count, 64) {
		entry := make([]byte, 56)
		if _, err := file.ReadAt(entry, table+int64(i*size)); err != nil && !errors.Is(err, io.EOF) {
			return ""
		}
		if elf.ProgType(order.Uint32(entry)) != elf.PT_INTERP {
			continue
		}
		offset, length := int64(order.Uint32(entry[4:])), uint64(order.Uint32(entry[16:]))
		if wide {
			offset, length = int64(order.Uint64(entry[8:])), order.Uint64(entry[32:])
		}
		if length == 0 || length > unix.PathMax {
			return ""
		}
		name := make([]byte, length)
		if _, err := file.ReadAt(name, offset); err != nil {
			return ""
		}
		return string(bytes.TrimRight(name, "\x00"))
	}
	return ""
}

// processName returns the kernel's name of a process. Executing a program changes it, and it stays
// until the process has been waited for.
func processName(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "" // hidden, or gone
	}
	return string(name)
}

// lookAtProgram remembers the runtime's name of the process that waits to execute the command, and
// anything that would prevent the kernel from executing it.
func (s *Sandbox) lookAtProgram() {
	s.waiting = processName(s.init.Pid)
	root := fmt.Sprintf("/proc/%d/root", s.init.Pid)
	if s.fault = diagnose(root, s.process); s.fault == nil && hasInit(s.process) {
		s.fault = diagnose(root, commandOf(s.process))
	}
}

// notExecuted returns the error of a process that has ended under the name that the runtime gave
// it: it never became the command, although its exit code looks as if the command had failed.
func (s *Sandbox) notExecuted(name, command string, fault *programFault) error {
	if name == "" || name != s.waiting {
		return nil
	}
	if fault == nil {
		fault = unfit("the kernel refused it")
	}
	return &CommandError{Code: fault.code, Command: command, Image: s.step.Image, Why: fault.why}
}
