package postgres

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// rivalLimit is how long a server may take to say which timeline it is the primary of, where another is about to be used.
const rivalLimit = time.Second

const askTimeline = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"

// timelineOf is the key of a connection's timeline in what it carries of ours.
const timelineOf = "timeline"

// rivals are the servers of an address, each by itself; none where it names but one. A node that was away, or is new, has seen no timeline of
// them: it must ask all before it believes one, for an old primary that came back says the same of itself as the new one.
func rivals(c *pgconn.Config) (all []*pgconn.Config) {
	servers := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	for _, s := range servers {
		if n := len(all); n > 0 && all[n-1].Host == s.Host && all[n-1].Port == s.Port { // without TLS, or with it
			all[n-1].Fallbacks = append(all[n-1].Fallbacks, s)
			continue
		}
		one := c.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = s.Host, s.Port, s.TLSConfig, nil
		one.ConnectTimeout, one.ValidateConnect, one.AfterConnect = rivalLimit, nil, nil
		all = append(all, one)
	}
	if len(all) == 1 {
		return nil
	}
	return all
}

// History is the number of the history that the servers go on in, their newest timeline; 0 where they do not tell it. A failover begins another,
// and what was read before may not be so in it.
func (db *DB) History() int64 { return db.server.timeline.Load() }

// survey asks all servers of the address at once, and takes note of the newest timeline that any is the primary of. One that does not answer
// has no say: it must not keep the others from being used.
func (db *DB) survey(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, rivalLimit)
	defer cancel()
	var all sync.WaitGroup
	for _, c := range db.rivals {
		all.Go(func() {
			pg, err := pgconn.ConnectConfig(ctx, c)
			if err != nil {
				return
			}
			defer func() { _ = pg.Close(ctx) }() // it was only asked
			row, err := single(ctx, pg, "SELECT pg_is_in_recovery()")
			if err != nil || row[0] != "f" {
				return
			}
			row, err = single(ctx, pg, askTimeline)
			if err != nil {
				return
			}
			timeline, err := parseTimeline(row[0])
			if err == nil {
				_ = db.server.follow(timeline) // an old one is no news
			}
		})
	}
	all.Wait()
}

func parseTimeline(hex string) (int64, error) {
	timeline, err := strconv.ParseInt(hex, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("read the server's timeline: %w", err)
	}
	return timeline, nil
}

// current reports whether a connection's server was not replaced since it was made.
func (db *DB) current(_ context.Context, c *pgx.Conn) (bool, error) {
	timeline, told := c.PgConn().CustomData()[timelineOf].(int64)
	return !told || timeline >= db.server.timeline.Load(), nil
}
