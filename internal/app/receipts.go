package app

import (
	"fmt"
	"strings"

	"github.com/dgraph-io/ristretto/v2"

	"tocsin/paging"
)

const (
	receiptsKept  = 10_000  // about so many reports are known again
	receiptsBytes = 2 << 20 // and they take so much memory at most
)

// receipts know again what providers reported and the state has: they repeat their callbacks, at times by the thousand, and the last word
// on a page changes nothing the second time. It is only a cache: what it forgot, or never took, is looked up in the state.
type receipts struct {
	cache *ristretto.Cache[string, struct{}]
}

func newReceipts() (*receipts, error) {
	c, err := ristretto.NewCache(&ristretto.Config[string, struct{}]{NumCounters: 10 * receiptsKept, MaxCost: receiptsBytes, BufferItems: 64})
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	return &receipts{c}, nil
}

// receiptKey names a report that is the last word on a send; "" where it is not, or does not say which page it is about: such a one may
// come before the state knows the provider's name for the page, and mean something when it comes again.
func receiptKey(provider string, r paging.Report) string {
	if r.PageID == "" || !r.State.Final() {
		return ""
	}
	return strings.Join([]string{provider, r.PageID, r.ProviderID, r.State.String()}, "\x00")
}

// once lets save make a report durable, unless the state is known to have it.
func (c *receipts) once(key string, save func() error) error {
	if key == "" {
		return save()
	}
	_, known := c.cache.Get(key)
	if known {
		return nil
	}
	err := save()
	if err == nil {
		c.cache.Set(key, struct{}{}, int64(len(key)))
	}
	return err
}

func (c *receipts) close() { c.cache.Close() }
