package network

import (
	"slices"

	"github.com/google/nftables"
)

// Bounds of a transaction of nftables. The kernel answers every message of a transaction before
// anybody reads the first answer. Answers that the socket has no room for, some 270 of them, are
// lost without a word, and whoever waits for them waits forever.
const (
	maxMessages = 80
	maxElements = 600 // of sets, in one message: a list of them has at most 64 KiB
)

// deleteElements deletes elements of a set, however many they are, and whatever else was asked of
// nft before.
func deleteElements(nft *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	for some := range slices.Chunk(elements, maxElements) {
		if err := nft.SetDeleteElements(set, some); err != nil {
			return err
		}
		if err := nft.Flush(); err != nil {
			return err
		}
	}
	return nil
}
