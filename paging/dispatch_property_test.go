package paging_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin"
	"tocsin/paging"
)

// Whatever providers do, no page is given up in silence, and at most one message too many goes out for each send of unknown
// outcome; with a look-up that works, none.
func TestNoPageIsForgottenAndFewAreDoubledWhateverProvidersDo(t *testing.T) { // I3, I4
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				var mu sync.Mutex // guards rnd and doubt
				doubt := map[string]int{}
				misbehave := func(name string) *gateway {
					g := &gateway{name: name, delay: time.Duration(rnd.IntN(3000)) * time.Millisecond}
					g.answer = func(_ int, m paging.Message) (string, error) {
						mu.Lock()
						defer mu.Unlock()
						switch rnd.IntN(10) {
						case 0:
							return "", errRefusedDial
						case 1:
							return "", &paging.RateError{Wait: time.Duration(rnd.IntN(20)) * time.Second}
						case 2:
							doubt[m.ID]++
							return "", errTaken
						case 3:
							doubt[m.ID]++
							return "", paging.ErrUnknown
						case 4:
							return "", &paging.RefusedError{Code: "1", Reason: "set-up"}
						}
						return "", nil
					}
					return g
				}
				looks := seed%2 == 0
				one, two := misbehave("one"), misbehave("two")
				b := newBook(pages(40, nil)...)
				channels := sms(via("one", one), via("two", two))
				if looks {
					channels = sms(via("one", finder{one}), via("two", finder{two}))
				}
				start(t, b, channels, paging.Options{})
				time.Sleep(15 * time.Minute)
				synctest.Wait()
				for id, state := range b.states() {
					got := one.count(id) + two.count(id)
					most := 1
					if !looks {
						most += doubt[id]
					}
					if state != "sent" && state != "failed" || state == "sent" && got == 0 || got > most {
						t.Errorf("page %s is %s, sent %d times after %d unknown outcomes; %s", id, state, got, doubt[id], b.page(id).Error)
					}
				}
			})
		})
	}
}

func TestCallbacksInAnyOrderAndNumberComeToTheSameEnd(t *testing.T) { // P7
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			b := newBook(tocsin.Page{ID: "1"})
			g := &gateway{name: "a", delay: time.Second}
			w := start(t, b, sms(via("a", g)), paging.Options{Confirm: -1})
			var reports []paging.Report
			for range 10 {
				reports = append(reports, paging.Report{PageID: "1", ProviderID: "a-1", State: tocsin.PageSent}, paging.Report{PageID: "1", ProviderID: "a-1", State: tocsin.PageDelivered})
			}
			rnd.Shuffle(len(reports), func(i, k int) { reports[i], reports[k] = reports[k], reports[i] })
			for _, r := range slices.Clone(reports) {
				time.Sleep(time.Duration(rnd.IntN(int(10 * time.Minute))))
				if err := w.Report(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := b.page("1"); got.State != tocsin.PageDelivered || g.count("1") != 1 {
				t.Errorf("seed %d: page is %s, sent %d times", seed, got.State, g.count("1"))
			}
		})
	}
}
