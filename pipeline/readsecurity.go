package pipeline

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/sys/capability"
)

func (p *parser) mapsTogether(v value) {
	uids, hasUIDs := v.get("uidmap")
	gids, hasGIDs := v.get("gidmap")
	switch {
	case hasUIDs && !hasGIDs:
		p.misplaced(uids, "needs gidmap", "a user namespace maps both")
	case hasGIDs && !hasUIDs:
		p.misplaced(gids, "needs uidmap", "a user namespace maps both")
	}
}

// capability reads a name of capabilities(7), with or without CAP_, or ALL.
func (p *parser) capability(v value) string {
	text := p.word(v)
	if text == "" {
		return ""
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "CAP_")
	known := []string{"ALL"}
	for _, c := range capability.ListKnown() {
		known = append(known, strings.ToUpper(c.String()))
	}
	if !slices.Contains(known, name) {
		p.wrong(v, fmt.Sprintf("%q is not a capability", text), didYouMean(name, known))
		return ""
	}
	return name
}

var (
	// cdiForm is the qualified name of the Container Device Interface specification.
	cdiForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?=[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$`)
	})
	gpuForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$`) })
	rwmForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^r?w?m?$`) })
)

// devices reads paths of the host and names of the Container Device Interface.
func (p *parser) devices(v value, s *Security) {
	if v.kind != listKind {
		p.wrongType(v, "a list")
		return
	}
	for i := range v.items {
		item := v.item(i)
		text := p.word(item)
		switch {
		case text == "":
		case strings.HasPrefix(text, "/"):
			s.Devices = append(s.Devices, p.device(item, text))
		case cdiForm().MatchString(text):
			s.CDI = append(s.CDI, text)
		default:
			p.wrong(item, fmt.Sprintf("%q is not a device", text), "write a path like /dev/fuse:/dev/fuse:rwm, or a CDI name like vendor.com/class=name")
		}
	}
}

// device reads src, src:dst, src:rwm or src:dst:rwm.
func (p *parser) device(v value, text string) Device {
	parts := strings.Split(text, ":")
	d := Device{Source: path.Clean(parts[0]), Destination: path.Clean(parts[0]), Permissions: "rwm"}
	rest := parts[1:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "/") {
		d.Destination, rest = path.Clean(rest[0]), rest[1:]
	}
	if len(rest) == 1 && rest[0] != "" && rwmForm().MatchString(rest[0]) {
		d.Permissions, rest = rest[0], nil
	}
	switch {
	case len(rest) > 0:
		p.wrong(v, fmt.Sprintf("%q is not a device", text), "write it like /dev/fuse, /dev/sda:/dev/disk or /dev/sda:/dev/disk:r; the rights are r, w and m in this order")
	case !isBelow(d.Destination, "/dev") || d.Destination == "/dev" && d.Source != "/dev":
		// A node at /proc or in a mount of the host would be made outside the container's own /dev.
		p.wrong(v, fmt.Sprintf("%q is not below /dev in the container", text), "")
	}
	return d
}

// gpu reads a GPU by its number or UUID, all of them, or a CDI name of another vendor.
func (p *parser) gpu(v value) string {
	text := p.scalar(v)
	if cdiForm().MatchString(text) {
		return text
	}
	text = strings.TrimPrefix(text, "device=") // docker's form
	if v.scalar() && !gpuForm().MatchString(text) {
		p.wrong(v, fmt.Sprintf("%q is not a GPU", text), "write all, a number from 0, a UUID, or a CDI name")
		return ""
	}
	return "nvidia.com/gpu=" + text
}

// idMaps reads container:host:size, once or as a list.
func (p *parser) idMaps(v value) []IDMap {
	var maps []IDMap
	p.filled(v, func(v value) string {
		if m, ok := p.idMap(v); ok {
			maps = append(maps, m)
		}
		return ""
	})
	return maps
}

func (p *parser) idMap(v value) (IDMap, bool) {
	text := p.word(v)
	if text == "" {
		return IDMap{}, false
	}
	var numbers []uint32
	for part := range strings.SplitSeq(text, ":") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			break
		}
		numbers = append(numbers, uint32(n))
	}
	if len(numbers) != 3 || strings.Count(text, ":") != 2 || numbers[2] == 0 {
		p.wrong(v, fmt.Sprintf("%q is not a mapping of ids", text), "write container:host:size, like 0:100000:65536")
		return IDMap{}, false
	}
	m := IDMap{Container: numbers[0], Host: numbers[1], Size: numbers[2]}
	if m.Size > math.MaxUint32-max(m.Container, m.Host) {
		p.wrong(v, fmt.Sprintf("%q goes beyond the last id", text), "")
		return IDMap{}, false
	}
	return m, true
}
