package app

import (
	"errors"
	"testing"

	"tocsin"
	"tocsin/paging"
)

func TestALastWordThatIsRepeatedAsksTheStateOnlyOnce(t *testing.T) {
	c, err := newReceipts()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	saved := 0
	save := func(err error) func() error { return func() error { saved++; return err } }
	report := paging.Report{PageID: "p1", ProviderID: "SM1", State: tocsin.PageDelivered}
	refused := errors.New("refused")
	if err := c.once(receiptKey("twilio", report), save(refused)); !errors.Is(err, refused) {
		t.Errorf("error %v, want that of the state", err)
	}
	for range 10 {
		err := c.once(receiptKey("twilio", report), save(nil))
		if err != nil {
			t.Error(err)
		}
		c.cache.Wait()
	}
	if saved != 2 {
		t.Errorf("the state was asked %d times, want twice: when it refused, and when it did not", saved)
	}
	c.cache.Clear() // whatever it forgets is only looked up again
	err = c.once(receiptKey("twilio", report), save(nil))
	if err != nil || saved != 3 {
		t.Errorf("after it was forgotten: error %v and %d questions, want none and 3", err, saved)
	}
}

func TestOnlyTheLastWordOnAPageThatIsNamedIsKnownAgain(t *testing.T) {
	for name, r := range map[string]paging.Report{
		"a page on its way":                         {PageID: "p1", ProviderID: "SM1", State: tocsin.PageSent},
		"one that only the provider has a name for": {ProviderID: "SM1", State: tocsin.PageDelivered},
	} {
		if key := receiptKey("twilio", r); key != "" {
			t.Errorf("%s: known again as %q", name, key)
		}
	}
	one := receiptKey("twilio", paging.Report{PageID: "p1", ProviderID: "SM1", State: tocsin.PageFailed})
	for name, other := range map[string]string{
		"another send": receiptKey("twilio", paging.Report{PageID: "p1", ProviderID: "SM2", State: tocsin.PageFailed}),
		"another word": receiptKey("twilio", paging.Report{PageID: "p1", ProviderID: "SM1", State: tocsin.PageDelivered}),
		"another way":  receiptKey("other", paging.Report{PageID: "p1", ProviderID: "SM1", State: tocsin.PageFailed}),
	} {
		if one == other {
			t.Errorf("%s is taken for the same", name)
		}
	}
}
