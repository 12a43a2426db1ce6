package drone

import (
	"bytes"
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
	maxCard   = 1 << 20 // bytes in base64; a longer one is dropped
)

// cards takes cards out of what a step prints. The last one counts. The zero value is ready.
type cards struct {
	open bool            // the start of a card was printed, and not yet its end
	text strings.Builder // of the card so far
	last json.RawMessage // nil: none
}

// take returns a text without the cards in it.
func (c *cards) take(text string) string {
	var rest strings.Builder
	for text != "" {
		mark, to := cardStart, &rest
		if c.open {
			mark, to = cardEnd, &c.text
		}
		before, after, found := strings.Cut(text, mark)
		if to == &rest || c.text.Len() < maxCard {
			to.WriteString(before)
		}
		if text = after; !found {
			break
		}
		if c.open {
			c.finish()
		}
		c.open = !c.open
	}
	return rest.String()
}

func (c *cards) finish() {
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(c.text.String()), ""))
	if c.text.Len() <= maxCard && err == nil && json.Valid(data) {
		c.last = bytes.Clone(data)
	}
	c.text.Reset()
}

// sendCard sends a card, once: servers before version 2.7 have no cards.
func (c *client) sendCard(ctx context.Context, id int64, card json.RawMessage) error {
	return c.try(ctx, http.MethodPost, stepPath(id)+"/card", card, nil)
}
