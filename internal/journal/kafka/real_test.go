package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"tocsin/internal/journal"
	"tocsin/parts/partstest"
)

// real are the options of a journal on a new topic of the real Kafka.
func real(t testing.TB, brokers string) Options {
	t.Helper()
	o := options(t, nil)
	o.Brokers, o.Topic = strings.Split(brokers, ","), "tocsin-test-"+uuid.NewString()
	return o
}

func TestJournalOnRealKafka(t *testing.T) {
	t.Parallel()
	brokers := partstest.Address(t, "KAFKA_BROKERS")
	asAnyJournal(t, func(t *testing.T) Options { return real(t, brokers) })
}

func TestRealKafkaIsSharedByMembersThatComeAndGo(t *testing.T) {
	t.Parallel()
	opts := real(t, partstest.Address(t, "KAFKA_BROKERS"))
	opts.Partitions = 6
	o := newOffice(t)
	one := member(t, opts, o.own("one"))
	o.until("one to have all", func(n map[string]int) bool { return n["one"] == 6 })
	two := member(t, opts, o.own("two"))
	o.until("two to have half", func(n map[string]int) bool { return n["one"] == 3 && n["two"] == 3 })
	one()
	o.until("two to have all", func(n map[string]int) bool { return n["two"] == 6 })
	two()
}

func TestRealKafkaWantsACertificateAndCredentials(t *testing.T) {
	t.Parallel()
	k := partstest.StartKafka(t, 1, "KAFKA_SASL=1")
	pem, err := os.ReadFile(k.Vars["KAFKA_CA_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trusting := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	user, password := k.Vars["KAFKA_USER"], k.Vars["KAFKA_PASSWORD"]
	for name, tc := range map[string]struct {
		tls  *tls.Config
		sasl SASL
		want string // in the error
	}{
		"scram-sha-256":                   {trusting, SASL{ScramSHA256, user, password}, ""},
		"scram-sha-512":                   {trusting, SASL{ScramSHA512, user, password}, ""},
		"plain":                           {trusting, SASL{Plain, user, password}, ""},
		"a wrong password":                {trusting, SASL{ScramSHA256, user, "wrong"}, "Authentication Failed"},
		"a wrong password, plain":         {trusting, SASL{Plain, user, "wrong"}, "Authentication Failed"},
		"a certificate that is not known": {&tls.Config{MinVersion: tls.VersionTLS12}, SASL{ScramSHA256, user, password}, "certificate"},
		"no TLS":                          {nil, SASL{ScramSHA256, user, password}, "no broker answers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := real(t, k.Vars["KAFKA_SASL_BROKERS"])
			o.TLS, o.SASL = tc.tls, tc.sasl
			began := time.Now()
			j, err := Open(t.Context(), o)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("err = %v, want one that says %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = j.Close() }()
			appendOne(t, j, 0, "by TLS and SASL")
			o.Log.Info("shared")
			of := newOffice(t)
			member(t, o, of.own("one"))
			of.until("all to be owned", func(n map[string]int) bool { return n["one"] == 2 })
		})
	}
}

// K1, one broker of one.
func TestABrokerThatIsKilledLosesNothingItAcknowledged(t *testing.T) {
	t.Parallel()
	k := partstest.StartKafka(t, 1)
	killed(t, k, 1, real(t, k.Brokers), func() { k.Kill(1); k.Start(1) })
}

// K1 and K2, one broker of three: the leader of at least one partition.
func TestOneOfThreeBrokersThatIsKilledLosesNothingItAcknowledged(t *testing.T) {
	t.Parallel()
	k := partstest.StartKafka(t, 3)
	o := real(t, k.Brokers)
	o.Partitions = 3
	killed(t, k, 3, o, func() { k.Kill(1); k.Start(1) })
}

// killed appends from 16 goroutines while disturb runs twice, and compares what was acknowledged with what is read.
func killed(t *testing.T, k *partstest.Kafka, partitions int, o Options, disturb func()) {
	o.Partitions = partitions
	j := open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	acked := map[string]bool{}
	var refused, longest atomic.Int64
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				payload := fmt.Sprintf("writer %d entry %d", w, i)
				began := time.Now()
				_, err := j.Append(context.WithoutCancel(ctx), w%partitions, journal.Entry{At: time.Now(), Payload: []byte(payload)})
				longest.Store(max(longest.Load(), int64(time.Since(began))))
				switch {
				case err == nil:
					mu.Lock()
					acked[payload] = true
					mu.Unlock()
				case errors.Is(err, journal.ErrSick):
					refused.Add(1)
					time.Sleep(50 * time.Millisecond) // as a sender would
				default:
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	for range 2 {
		before := count()
		waitFor(t, "appends", func() bool { return count() > before+200 })
		disturb()
		back := time.Now()
		before = count()
		waitFor(t, "appends after the return", func() bool { return count() > before })
		if took := time.Since(back); took > 15*time.Second {
			t.Errorf("accepts again %v after the return", took)
		} else {
			t.Logf("accepts again %v after the return", took)
		}
	}
	cancel()
	wg.Wait()
	got := map[string]int{}
	for n := range partitions {
		_, next, err := j.Bounds(n)
		if err != nil {
			t.Fatal(err)
		}
		r, err := j.Read(n, 0)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < next; {
			entries, err := r.Next(t.Context(), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				got[string(e.Payload)]++
			}
			at = entries[len(entries)-1].Offset + 1
		}
	}
	lost, twice := 0, 0
	for p := range acked {
		switch got[p] {
		case 0:
			lost++
		case 1:
		default:
			twice++
		}
	}
	t.Logf("%d acknowledged, %d refused, %d lost, %d in the log more than once; the longest append took %v", len(acked), refused.Load(), lost, twice, time.Duration(longest.Load()))
	if lost > 0 {
		t.Errorf("%d of %d acknowledged entries are lost", lost, len(acked))
	}
}

// H3, as far as the group goes: a node, and the broker that coordinates the group, are gone at once.
func TestAGroupWhoseCoordinatorAndMemberAreKilledIsOwnedAgain(t *testing.T) {
	t.Parallel()
	k := partstest.StartKafka(t, 3)
	opts := real(t, k.Brokers)
	opts.Partitions = 6
	o := newOffice(t)
	member(t, opts, o.own("one"))
	o.until("one to have all", func(n map[string]int) bool { return n["one"] == 6 })
	j := open(t, opts)
	coordinator, err := (&kafka.Client{Addr: j.gate.addr, Transport: j.gate}).FindCoordinator(t.Context(), &kafka.FindCoordinatorRequest{
		Key: j.o.Group, KeyType: kafka.CoordinatorKeyTypeConsumer,
	})
	if err != nil {
		t.Fatal(err)
	}
	two := member(t, opts, o.own("two"))
	o.until("two to have half", func(n map[string]int) bool { return n["one"] == 3 && n["two"] == 3 })
	k.Kill(coordinator.Coordinator.NodeID)
	two()
	began := time.Now()
	o.until("one to have all", func(n map[string]int) bool { return n["one"] == 6 })
	t.Logf("owned again after %v", time.Since(began))
}
