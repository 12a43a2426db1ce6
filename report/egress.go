package report

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
)

// summaryEgress bounds the destinations that a summary lists.
const summaryEgress = 20

// egressRow is a destination that a step has had connections with, whatever addresses it has.
type egressRow struct {
	Step, To, Kind, Port string // Kind: service, host or world
	Addresses            []string
	sent, got            uint64 // bytes
	First, Last          time.Time
	Refused              bool
}

// Sent and Got are in words.
func (r *egressRow) Sent() string { return units.BytesSize(float64(r.sent)) }
func (r *egressRow) Got() string  { return units.BytesSize(float64(r.got)) }

// Verdict is what became of the connections.
func (r *egressRow) Verdict() string {
	if r.Refused {
		return "refused"
	}
	return ""
}

// egressRows are the destinations of all steps, in their order. Addresses of one name are one.
func egressRows(steps []*event.StepResult) []*egressRow {
	type key struct {
		step, to, kind, port string
		refused              bool
	}
	known := map[key]*egressRow{}
	var rows []*egressRow
	for _, step := range steps {
		for i := range step.Egress {
			c := &step.Egress[i]
			k := key{step.Step, cmp.Or(c.Name, c.Address), EgressKind(c), EgressPort(c), c.Refused}
			row := known[k]
			if row == nil {
				row = &egressRow{Step: plain(k.step), To: plain(k.to), Kind: k.kind, Port: plain(k.port), First: c.First, Refused: k.refused}
				known[k] = row
				rows = append(rows, row)
			}
			row.Addresses = append(row.Addresses, plain(c.Address))
			row.sent, row.got = row.sent+c.Sent, row.got+c.Received
			if c.First.Before(row.First) {
				row.First = c.First
			}
			if c.Last.After(row.Last) {
				row.Last = c.Last
			}
		}
	}
	return rows
}

// EgressKind says in a word where a connection leads.
func EgressKind(c *event.Connection) string { return cmp.Or(c.Kind, "world") }

// EgressPort is the port of a connection, with its protocol.
func EgressPort(c *event.Connection) string {
	if c.Port == 0 {
		return c.Protocol
	}
	return fmt.Sprintf("%d/%s", c.Port, c.Protocol)
}

// egressTable lists what the steps of a run have reached; "" when nothing was recorded.
func egressTable(s *event.Summary) string {
	var steps []*event.StepResult
	for i := range s.Steps {
		steps = append(steps, &s.Steps[i])
	}
	rows := egressRows(steps)
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tREACHED\tWHERE\tPORT\tSENT\tGOT\t")
	for _, r := range rows[:min(len(rows), summaryEgress)] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", logs.Quote(r.Step), logs.Quote(r.To), r.Kind, r.Port, r.Sent(), r.Got(), r.Verdict())
	}
	_ = w.Flush() // a strings.Builder takes everything
	text := trimLines(b.String())
	if more := len(rows) - summaryEgress; more > 0 {
		text += fmt.Sprintf("and %d more: stepexec explain --egress %s\n", more, s.Run)
	}
	return text
}

// trimLines takes the spaces at the ends of lines away.
func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}
