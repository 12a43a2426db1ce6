package doctor

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/sandbox"
)

// otherPlatforms tells for which other architectures programs run here, by the kernel's
// handlers of binfmt_misc. Steps for this machine need none.
func (m *Machine) otherPlatforms(context.Context) Result {
	const dir = "/proc/sys/fs/binfmt_misc"
	entries, err := os.ReadDir(filepath.Join(m.Files, dir))
	if err != nil {
		return ok(fmt.Sprintf("%s alone: %v", runtime.GOARCH, err))
	}
	var handlers []string
	for _, entry := range entries {
		text, err := m.read(filepath.Join(dir, entry.Name()))
		if err != nil { // register can only be written to
			continue
		}
		if architecture := handledArchitecture(text); architecture != "" {
			handlers = append(handlers, architecture+" ("+entry.Name()+reservation(text)+")")
		}
	}
	slices.Sort(handlers)
	if status, err := m.read(filepath.Join(dir, "status")); err == nil && status == "disabled" {
		return ok(runtime.GOARCH + " alone: the handlers of binfmt_misc are disabled")
	}
	if len(handlers) == 0 {
		return ok(runtime.GOARCH + " alone: binfmt_misc has no handlers for programs of other architectures")
	}
	return ok("beside " + runtime.GOARCH + ", by binfmt_misc: " + strings.Join(handlers, ", "))
}

// handledArchitecture returns the architecture that a handler of binfmt_misc is for; "" for one
// that handles something else than ELF programs. The form is that of the kernel's
// Documentation/admin-guide/binfmt-misc.rst.
func handledArchitecture(handler string) string {
	_, rest, found := strings.Cut(handler, "\nmagic ")
	text, _, _ := strings.Cut(rest, "\n")
	magic, err := hex.DecodeString(text)
	const machineEnd = 20 // e_machine is at 18 (elf(5))
	if !found || err != nil || len(magic) < machineEnd || !bytes.HasPrefix(magic, []byte(elf.ELFMAG)) {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if magic[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		order = binary.BigEndian
	}
	return sandbox.Architecture(elf.Machine(order.Uint16(magic[machineEnd-2:])))
}

// reservation says what keeps a handler from working in steps. Without the flag F the kernel
// looks its interpreter up in the image, which has none.
func reservation(handler string) string {
	flags := ""
	for line := range strings.Lines(handler) {
		if text, found := strings.CutPrefix(line, "flags:"); found {
			flags = text
		}
	}
	switch {
	case !strings.HasPrefix(handler, "enabled"):
		return ", disabled"
	case !strings.Contains(flags, "F"):
		return ", not in steps: it lacks the flag F"
	}
	return ""
}
