package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

// explainEgress prints the connections of a run's steps, and the list that would allow all of those
// that leave the run's own network.
func explainEgress(w io.Writer, root, run string) error {
	r, err := findRecord(root, run)
	if err != nil {
		return err
	}
	if r.Summary == nil {
		return fmt.Errorf("run %s has no results yet", r.Run)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var list egress.List
	rows := 0
	for _, step := range r.Summary.Steps {
		for _, c := range step.Egress {
			if rows == 0 {
				fmt.Fprintln(table, "STEP\tNAME\tADDRESS\tPORT\tWHERE\tSENT\tGOT\tFIRST\tLAST\t")
			}
			rows++
			verdict := ""
			if c.Refused {
				verdict = "refused"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", step.Step, cmp.Or(c.Name, "-"), c.Address, report.EgressPort(&c), report.EgressKind(&c),
				units.BytesSize(float64(c.Sent)), units.BytesSize(float64(c.Received)), c.First.Format(time.TimeOnly), c.Last.Format(time.TimeOnly), verdict)
			if c.Kind == "" { // connections within the run need no list, and a list would open the host
				list = append(list, rulesFor(c)...)
			}
		}
	}
	if rows == 0 {
		_, err := fmt.Fprintf(w, "run %s: no connections are recorded (its steps had no egress rules, such as of --egress audit, or reached nothing)\n", r.Run)
		return err
	}
	if err := table.Flush(); err != nil {
		return err
	}
	quoted := make([]string, 0, len(list))
	for _, text := range list.Sorted().Strings() {
		quoted = append(quoted, fmt.Sprintf("%q", text))
	}
	_, err = fmt.Fprintf(w, "\negress: [%s]\n", strings.Join(quoted, ", "))
	return err
}

// rulesFor returns the rules that allow a connection, by the names that have the address where one is
// known: which of them the program meant cannot be told.
func rulesFor(c event.Connection) egress.List {
	if c.Name != "" {
		list := egress.List{{Name: c.Name, Port: c.Port}}
		for _, name := range c.Also {
			list = append(list, egress.Rule{Name: name, Port: c.Port})
		}
		return list
	}
	address, err := netip.ParseAddr(c.Address)
	if err != nil {
		return nil
	}
	return egress.List{{Prefix: netip.PrefixFrom(address, address.BitLen()), Port: c.Port}}
}
