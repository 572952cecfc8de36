package paging_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/providertest"
	"tocsin/paging/twilio"
)

// BenchmarkOfferToRequest measures from Offer to the start of the request, one page at a time.
func BenchmarkOfferToRequest(b *testing.B) {
	store := newBook()
	began := make(chan time.Time, 1)
	w, err := paging.NewWorker(store, sms(via("a", senderFunc(func(context.Context, paging.Message) (paging.Receipt, error) {
		began <- time.Now()
		return paging.Receipt{ID: "x"}, nil
	}))), paging.Options{PersonWindow: -1})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		store.mu.Lock()
		store.add(tocsin.Page{ID: fmt.Sprint(i)})
		p := store.claim(store.rows[fmt.Sprint(i)], time.Now(), time.Minute)
		store.mu.Unlock()
		at := time.Now()
		w.Offer([]tocsin.Page{p})
		took = append(took, (<-began).Sub(at))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

type senderFunc func(context.Context, paging.Message) (paging.Receipt, error)

func (f senderFunc) Send(ctx context.Context, m paging.Message) (paging.Receipt, error) {
	return f(ctx, m)
}

// BenchmarkTenThousandPagesOverHTTP sends 10,000 pages through twilio-go over loopback to a provider that answers in 100 ms
// and checks every request against the published description. Provider and worker share the machine. It is asked for by
// TOCSIN_BENCH_PAGES because one round takes seconds.
func BenchmarkTenThousandPagesOverHTTP(b *testing.B) {
	if os.Getenv("TOCSIN_BENCH_PAGES") == "" {
		b.Skip("TOCSIN_BENCH_PAGES is not set")
	}
	const n = 10_000
	const sid = "AC00000000000000000000000000000000"
	for b.Loop() {
		d, err := providertest.NewTwilio(sid, "secret")
		if err != nil {
			b.Fatal(err)
		}
		var mu sync.Mutex
		var last time.Time
		count := 0
		d.Script(func(int, providertest.Request) providertest.Step {
			mu.Lock()
			defer mu.Unlock()
			count++
			last = time.Now()
			return providertest.Step{Delay: 100 * time.Millisecond}
		})
		srv := httptest.NewServer(d)
		p, err := twilio.New(twilio.Account{SID: sid, Token: "secret", From: "+15005550006"}, twilio.Options{PublicURL: "https://tocsin.example.org", BaseURL: srv.URL})
		if err != nil {
			b.Fatal(err)
		}
		w, err := paging.NewWorker(newBook(pages(n, nil)...), sms(via("twilio", p)), paging.Options{Confirm: -1})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- w.Run(ctx) }()
		for len(d.Taken()) < n {
			time.Sleep(50 * time.Millisecond)
		}
		b.ReportMetric(n/last.Sub(began).Seconds(), "pages/s")
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if count != n || len(d.Problems()) > 0 {
			b.Errorf("%d requests for %d pages; %v", count, n, d.Problems())
		}
		srv.Close()
	}
}
