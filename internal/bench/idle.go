package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// idle is row 8: a server with no data, how soon it is ready and what it takes in memory.
func idle(ctx context.Context, b *bench) ([]row, error) {
	var ours, theirs idling
	for round := range b.rounds {
		t, err := b.tocsin(fmt.Sprintf("idle-%d", round), gathering)
		if err != nil {
			return nil, err
		}
		err = ours.once(ctx, b, "tocsin", t)
		if err != nil {
			return nil, err
		}
		if b.peer == "" {
			continue
		}
		p, err := b.alertmanager(fmt.Sprintf("idle-peer-%d", round), peerSettings("namespace", "1h", "127.0.0.1:9"))
		if err != nil {
			return nil, err
		}
		err = theirs.once(ctx, b, "alertmanager", p)
		if err != nil {
			return nil, fmt.Errorf("alertmanager: %w", err)
		}
	}
	peer := "Alertmanager 35 MiB, 0.05 s (earlier)"
	if b.peer != "" {
		peer = fmt.Sprintf("Alertmanager %s MiB, %s s", number(theirs.memory.median()), number(theirs.ready.median()))
	}
	m, r := ours.memory.median(), ours.ready.median()
	return []row{{
		id: "8", what: "idle RSS, time to ready with no data", peer: peer, must: "60 MiB, 0.5 s", aim: "",
		measured: fmt.Sprintf("%s MiB, %s s", number(m), number(r)), spread: ours.memory.ends() + ", " + ours.ready.ends(),
		verdict: worse(atMost(m, 60, 60), atMost(r, 0.5, 0.5)),
	}}, nil
}

type idling struct{ memory, ready spread }

func (i *idling) once(ctx context.Context, b *bench, name string, s *server) (err error) {
	type start struct{ ready, memory float64 }
	got, err := undisturbed(ctx, b, name, func() (start, share, error) {
		before := used(0)
		ready, err := s.start(ctx)
		if err != nil {
			return start{}, share{}, err
		}
		pause(ctx, 2*time.Second)
		memory, _ := memoryOf(s.pid())
		before.target = 0
		who := before.until(used(s.pid()))
		return start{ready.Seconds(), memory}, who, s.stop()
	})
	if err != nil {
		return errors.Join(err, s.stop())
	}
	i.memory, i.ready = append(i.memory, got.memory), append(i.ready, got.ready)
	return nil
}
