package drone

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// A step shows a card on the page of the server by printing JSON in base64 between these, which
// Drone's runner takes out of the log.
const (
	cardStart = "\x1b]1338;"
	cardEnd   = "\x1b]0m"
	maxCard   = 1 << 20 // bytes in base64, with line ends; a longer text is no card
)

// cards takes cards out of what a step prints. The last one counts. The zero value is ready.
type cards struct {
	open    bool            // the start of a card was printed, and not yet its end
	held    []byte          // text after that start
	checked int             // bytes of held that are known to be base64
	last    json.RawMessage // nil: none
}

// take returns a text without the cards in it. Text after the start of a card is held back until
// the card's end, and returned as soon as it cannot be a card: a start without an end must not
// cost the log what the step prints afterwards.
func (c *cards) take(text string) string {
	var rest strings.Builder
	for text != "" {
		if !c.open {
			before, after, found := strings.Cut(text, cardStart)
			rest.WriteString(before)
			text, c.open = after, found
			continue
		}
		c.held = append(c.held, text...)
		text = ""
		for c.checked < len(c.held) && isCard(c.held[c.checked]) {
			c.checked++
		}
		body, end := c.held[:c.checked], string(c.held[c.checked:])
		switch {
		case len(body) <= maxCard && strings.HasPrefix(end, cardEnd):
			c.finish(body)
			text = end[len(cardEnd):]
			c.held, c.checked, c.open = nil, 0, false
		case len(body) > maxCard || !strings.HasPrefix(cardEnd, end):
			rest.WriteString(c.release())
			text = end
		}
	}
	return rest.String()
}

// release ends a card that has no end, and returns the base64 text that was held back for it.
func (c *cards) release() string {
	text := string(c.held[:c.checked])
	c.held, c.checked, c.open = nil, 0, false
	return text
}

// isCard reports whether a byte can stand in a card.
func isCard(b byte) bool {
	return b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || strings.IndexByte("+/=\r\n", b) >= 0
}

func (c *cards) finish(body []byte) {
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(body)), ""))
	if err == nil && json.Valid(data) {
		c.last = data
	}
}

// sendCard sends a card, once: servers before version 2.7 have no cards.
func (c *client) sendCard(ctx context.Context, id int64, card json.RawMessage) error {
	return c.try(ctx, http.MethodPost, stepPath(id)+"/card", card, nil)
}
