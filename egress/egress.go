// Package egress says what a step may reach outside its run: lists of names,
// networks and ports, as pipelines, policies and the command line write them.
package egress

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Mode is what happens to connections that leave the run.
type Mode string

// Modes.
const (
	Open  Mode = ""      // nothing is recorded or refused
	Audit Mode = "audit" // everything is recorded, nothing refused
	Deny  Mode = "deny"  // everything is recorded, and refused what the list lacks
)

// Rules are a step's egress: with Deny, what List has is all that it reaches.
type Rules struct {
	Mode Mode
	List List
}

// List is what may be reached.
type List []Rule

// Rule is one destination: a name, or a network.
type Rule struct {
	Name   string       // lower case, without a dot at the end; *.NAME: all names below; "": Prefix
	Prefix netip.Prefix // of a rule without a Name
	Port   uint16       // of TCP and UDP; 0: every port, and every protocol
}

// String is the rule as Parse reads it.
func (r Rule) String() string {
	host := r.Name
	if host == "" {
		host = r.Prefix.String()
		if r.Prefix.IsSingleIP() {
			host = r.Prefix.Addr().String()
		}
	}
	if r.Port == 0 {
		return host
	}
	if r.Name == "" && r.Prefix.Addr().Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(r.Port))
}

// Strings are the rules of a list as Parse reads them.
func (l List) Strings() []string {
	texts := make([]string, len(l))
	for i, r := range l {
		texts[i] = r.String()
	}
	return texts
}

var nameForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)
})

const maxName = 253 // bytes, of RFC 1035 without the dot at the end

// Parse reads NAME, *.NAME, ADDRESS or NETWORK/BITS, each with :PORT behind it
// or without. An IPv6 address with a port stands in brackets.
func Parse(text string) (Rule, error) {
	host, port, err := split(text)
	if err != nil {
		return Rule{}, err
	}
	if prefix, err := parsePrefix(host); err == nil {
		return Rule{Prefix: prefix, Port: port}, nil
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	switch {
	case strings.Contains(host, "/") || strings.Contains(host, ":"):
		return Rule{}, fmt.Errorf("%q is not a network: write it like 10.0.0.0/8 or 2001:db8::/32", host)
	case !nameForm().MatchString(name) || len(name) > maxName || looksLikeAddress(name):
		return Rule{}, fmt.Errorf("%q is not a name, an address or a network: write it like api.example.com:443, *.example.com:443 or 10.0.0.0/8:5432", text)
	case strings.HasPrefix(name, "*.") && !strings.Contains(name[2:], "."):
		return Rule{}, fmt.Errorf("%q allows a whole top-level domain (name the domain below it)", text)
	}
	return Rule{Name: name, Port: port}, nil
}

// looksLikeAddress recognises a wrong address such as 10.0.0.256, which no name
// of the public DNS looks like: its last label would be a number.
func looksLikeAddress(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	_, err := strconv.Atoi(last)
	return err == nil
}

func split(text string) (host string, port uint16, err error) {
	host, after := text, ""
	if rest, ok := strings.CutPrefix(text, "["); ok {
		host, after, ok = strings.Cut(rest, "]")
		if !ok || after != "" && after[0] != ':' {
			return "", 0, fmt.Errorf("%q: write an IPv6 address with a port like [2001:db8::1]:443", text)
		}
		after = strings.TrimPrefix(after, ":")
	} else if strings.Count(text, ":") == 1 {
		host, after, _ = strings.Cut(text, ":")
		if after == "" {
			return "", 0, fmt.Errorf("%q: the port behind the colon is missing", text)
		}
	}
	if host == "" {
		return "", 0, errors.New("an entry is empty")
	}
	if after == "" {
		return host, 0, nil
	}
	number, err := strconv.ParseUint(after, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("%q: the port must be a number from 1 to 65535", text)
	}
	return host, uint16(number), nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, err
	}
	const before = 96 // bits of an IPv6 address before the IPv4 address that it stands for
	if prefix.Addr().Is4In6() && prefix.Bits() >= before {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-before)
	}
	return prefix.Masked(), nil
}

// ParseList reads rules. The error names the first that is wrong.
func ParseList(texts []string) (List, error) {
	list := List{}
	for _, text := range texts {
		rule, err := Parse(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		list = append(list, rule)
	}
	return list, nil
}

// ParseText reads a file: a rule a line, # begins a comment.
func ParseText(data []byte) (List, error) {
	list := List{}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		text, _, _ := strings.Cut(line, "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		text = strings.TrimSpace(strings.TrimPrefix(text, "- "))
		rule, err := Parse(strings.Trim(text, `"'`))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		list = append(list, rule)
	}
	return list, nil
}

// matches reports whether a name, in lower case and without a dot at the end,
// is one of the rule's.
func (r Rule) matches(name string) bool {
	if below, ok := strings.CutPrefix(r.Name, "*"); ok {
		return strings.HasSuffix(name, below) && len(name) > len(below)
	}
	return r.Name != "" && r.Name == name
}

// OfName are the rules that a name has, among them whether only rules for
// all names below a domain.
func (l List) OfName(name string) (rules List, onlyBelow bool) {
	onlyBelow = true
	for _, r := range l {
		if r.matches(name) {
			rules = append(rules, r)
			onlyBelow = onlyBelow && strings.HasPrefix(r.Name, "*")
		}
	}
	return rules, onlyBelow
}

// Covers reports whether everything that a rule allows is allowed by the list.
func (l List) Covers(r Rule) bool {
	return slices.ContainsFunc(l, func(limit Rule) bool { return limit.covers(r) })
}

func (r Rule) covers(narrow Rule) bool {
	if r.Port != 0 && r.Port != narrow.Port {
		return false
	}
	switch {
	case r.Name == "" && narrow.Name == "":
		return r.Prefix.Bits() <= narrow.Prefix.Bits() && r.Prefix.Contains(narrow.Prefix.Addr())
	case r.Name == "" || narrow.Name == "":
		return false
	}
	if below, ok := strings.CutPrefix(narrow.Name, "*."); ok {
		above, isBelow := strings.CutPrefix(r.Name, "*.")
		return isBelow && (below == above || strings.HasSuffix(below, "."+above))
	}
	return r.matches(narrow.Name)
}

// Sorted is the list in order, every rule once.
func (l List) Sorted() List {
	sorted := slices.Clone(l)
	slices.SortFunc(sorted, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Prefix.Compare(b.Prefix), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(sorted)
}
