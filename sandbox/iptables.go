package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
)

// guard keeps what comes in from a run's network interface away from the
// host's loopback and from other runs. The portmap plugin makes the kernel
// route 127.0.0.0/8 from there (route_localnet), and then a step that makes
// its own packets reaches whatever listens on the host's loopback
// (CVE-2020-8558); and without the second rule the host, a router now, would
// carry packets from one run's service to another's.
func guard(ctx context.Context, link, run string) error {
	end := " -m comment --comment stepexec-" + run + " -j DROP"
	return restoreRules(ctx, "mangle", []string{
		"-A PREROUTING -i " + link + " -d 127.0.0.0/8" + end,
		"-A FORWARD -i " + link + " -o " + bridgePrefix + "+" + end,
	})
}

// sweepRules deletes every rule that names the run or an address of its
// subnet, and the chains that only such rules lead to. The plugins have
// deleted theirs before, if all went well; this makes sure.
func sweepRules(ctx context.Context, run string, subnet netip.Prefix) error {
	var failed []error
	for _, table := range []string{"mangle", "nat", "filter"} {
		saved, err := iptables(ctx, nil, "iptables-save", "-t", table)
		if err != nil {
			failed = append(failed, fmt.Errorf("list the %s rules of iptables: %w", table, err))
			continue
		}
		if commands := rulesToDelete(saved, run, subnet); len(commands) > 0 {
			failed = append(failed, restoreRules(ctx, table, commands))
		}
	}
	return errors.Join(failed...)
}

// rulesToDelete reads what iptables-save writes of one table.
func rulesToDelete(saved, run string, subnet netip.Prefix) []string {
	var rules, chains []string
	own := map[string]bool{} // chains of the table that are not the kernel's
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		if name, policy, _ := strings.Cut(strings.TrimPrefix(line, ":"), " "); strings.HasPrefix(line, ":") {
			own[name] = strings.HasPrefix(policy, "- ")
			continue
		}
		rule, ok := strings.CutPrefix(line, "-A ")
		named := strings.Contains(rule, run)
		if !ok || !named && !mentions(rule, subnet) {
			continue
		}
		rules = append(rules, rule)
		// A rule that names the run leads to a chain of the run's; one that
		// has an address may lead to a chain that all networks share.
		if target := jumpTarget(rule); named && own[target] && !slices.Contains(chains, target) {
			chains = append(chains, target)
		}
	}
	return deletions(rules, chains)
}

// deletions puts the rules first that are not emptied with their chain.
func deletions(rules, chains []string) []string {
	var commands []string
	for _, rule := range rules {
		if chain, _, _ := strings.Cut(rule, " "); !slices.Contains(chains, chain) {
			commands = append(commands, "-D "+rule)
		}
	}
	for _, verb := range []string{"-F ", "-X "} {
		for _, chain := range chains {
			commands = append(commands, verb+chain)
		}
	}
	return commands
}

// mentions reports whether a rule has an address or network within subnet.
func mentions(rule string, subnet netip.Prefix) bool {
	for _, word := range strings.Fields(rule) {
		prefix, err := netip.ParsePrefix(word)
		if err == nil && prefix.Bits() >= subnet.Bits() && subnet.Contains(prefix.Addr()) {
			return true
		}
	}
	return false
}

func jumpTarget(rule string) string {
	words := strings.Fields(rule)
	if i := slices.Index(words, "-j"); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// restoreRules applies commands to a table, all or none.
func restoreRules(ctx context.Context, table string, commands []string) error {
	input := "*" + table + "\n" + strings.Join(commands, "\n") + "\nCOMMIT\n"
	if _, err := iptables(ctx, []byte(input), "iptables-restore", "-w", "--noflush"); err != nil {
		return fmt.Errorf("change the %s rules of iptables: %w", table, err)
	}
	return nil
}

func iptables(ctx context.Context, input []byte, command string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command, args...)
	var out, message bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &message
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w", command, saidWhy(err, message.Bytes()))
	}
	return out.String(), nil
}

// saidWhy is why a program failed: what it printed, which is clearer than its exit status.
func saidWhy(err error, printed []byte) error {
	printed = bytes.TrimSpace(printed)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() && len(printed) > 0 {
		return errors.New(string(printed))
	}
	return err
}
