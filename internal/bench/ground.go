package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
)

// A ground is what several machines would share: a Kafka cluster and a PostgreSQL server. A nil one lends the embedded storage.
type ground struct {
	brokers []string
	dsn     string // of a database whose user may make others
	beside  []int  // the processes of both
	lent    int    // homes so far
	run     string // tells this run's topics and databases from others'
}

// A home is where a server keeps its journal and its state: the zero value is a folder of its own.
type home struct {
	brokers    []string
	topic      string // "": the embedded journal
	partitions int
	dsn        string // of a database of its own; "": the embedded one
	beside     []int
}

// storage returns the words of the section storage.
func (h home) storage(dir string) string {
	text := "dir: " + dir
	if h.topic != "" {
		text += fmt.Sprintf(", journal: {kafka: {brokers: [%s], topic: %s, partitions: %d}}", strings.Join(h.brokers, ", "), h.topic, h.partitions)
	}
	if h.dsn != "" {
		text += fmt.Sprintf(", state: {postgres: {dsn: %q}}", h.dsn)
	}
	return text
}

// startAt starts s on h, and returns once it works on all partitions.
func (s *server) startAt(ctx context.Context, h home) error {
	_, err := s.start(ctx)
	if err != nil || h.topic == "" {
		return err
	}
	err = s.holds(ctx, h.partitions)
	if err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// holds waits until s works on so many partitions, and has loaded all of them.
func (s *server) holds(ctx context.Context, partitions int) error {
	err := s.await(ctx, time.Minute, func() bool {
		if s.works(partitions) {
			return true
		}
		pause(ctx, 10*time.Millisecond)
		return false
	})
	if err != nil {
		return fmt.Errorf("wait until it works on %d partitions: %w", partitions, err)
	}
	return nil
}

// works reports whether s works on so many partitions, all of them loaded.
func (s *server) works(partitions int) bool {
	n, ok := s.metric(partitionsMetric)
	if !ok || int(n) != partitions {
		return false
	}
	_, body, err := fetch(s.url+"/readyz", time.Second)
	return err == nil && strings.Contains(string(body), `"correlate":"ok"`)
}

func portOf(address string) (uint16, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("address %s: %w", address, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port of %s: %w", address, err)
	}
	return uint16(n), nil
}

// newGround returns the ground that KAFKA_BROKERS and DATABASE_URL name: nil where one of them is empty.
func newGround(brokers, dsn string) (*ground, error) {
	if brokers == "" || dsn == "" {
		return nil, nil
	}
	g := &ground{dsn: dsn, run: strconv.FormatUint(rand.Uint64(), 36)}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	addresses := []string{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))}
	for b := range strings.SplitSeq(brokers, ",") {
		g.brokers = append(g.brokers, strings.TrimSpace(b))
	}
	for _, a := range append(addresses, g.brokers...) {
		err = loopback(a)
		if err != nil {
			return nil, err
		}
		port, err := portOf(a)
		if err != nil {
			return nil, err
		}
		g.beside = append(g.beside, listeners(port)...)
	}
	return g, nil
}

// What a server's journal and state stand on.
const (
	onPostgres = 1 << iota
	onKafka
	onBoth = onPostgres | onKafka
)

// usual is how many partitions the product has where nobody says.
const usual = 12

// lend calls use with a home of the given parts that is new, and clears it away afterwards.
func (g *ground) lend(ctx context.Context, on int, use func(h home) error) error {
	return g.lendOf(ctx, on, usual, use)
}

func (g *ground) lendOf(ctx context.Context, on, partitions int, use func(h home) error) (err error) {
	if g == nil {
		return use(home{})
	}
	g.lent++
	name := fmt.Sprintf("bench_%s_%d", g.run, g.lent)
	h := home{beside: g.beside}
	if on&onKafka != 0 {
		h.brokers, h.topic, h.partitions = g.brokers, name, partitions
		defer func() { err = errors.Join(err, g.forget(ctx, name)) }()
	}
	if on&onPostgres != 0 {
		h.dsn, err = g.database(ctx, name, "")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.drop(ctx, name)) }()
	}
	return use(h)
}

// tidyTime bounds what is done to begin and end the life of a home.
const tidyTime = time.Minute

// copied calls use with a copy of h's state, as it is now: nobody may use it meanwhile. The journal is the same.
func (g *ground) copied(ctx context.Context, h home, use func(h home) error) (err error) {
	u, err := url.Parse(h.dsn)
	if err != nil {
		return fmt.Errorf("copy of a database: %w", err)
	}
	g.lent++
	name := fmt.Sprintf("bench_%s_%d", g.run, g.lent)
	h.dsn, err = g.database(ctx, name, strings.TrimPrefix(u.Path, "/"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.drop(ctx, name)) }()
	return use(h)
}

// database makes a database, where template is not empty as a copy of it, and returns its address.
func (g *ground) database(ctx context.Context, name, template string) (dsn string, err error) {
	text := "create database " + pgx.Identifier{name}.Sanitize()
	if template != "" {
		text += " template " + pgx.Identifier{template}.Sanitize()
	}
	err = g.sql(ctx, text)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(g.dsn)
	if err != nil {
		return "", fmt.Errorf("DATABASE_URL: %w", err)
	}
	u.Path = "/" + name
	return u.String(), nil
}

func (g *ground) drop(ctx context.Context, name string) error {
	return g.sql(context.WithoutCancel(ctx), "drop database "+pgx.Identifier{name}.Sanitize()+" with (force)")
}

func (g *ground) sql(ctx context.Context, text string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	c, err := pgx.Connect(ctx, g.dsn)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	_, err = c.Exec(ctx, text)
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// forget deletes a topic and the one of its dead letters.
func (g *ground) forget(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	t := &kafka.Transport{}
	defer t.CloseIdleConnections()
	c := kafka.Client{Addr: kafka.TCP(g.brokers...), Transport: t}
	_, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic, topic + ".dead"}})
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}

// What Kafka and PostgreSQL get for figures, where their scripts start them: the scripts' own settings suit tests.
func partSettings(port string) []string {
	return []string{
		"KAFKA_PORTS=free", "KAFKA_NODES=1", "KAFKA_HEAP=1g", "KAFKA_JVM=-XX:+UseG1GC", "KAFKA_NAME=kafka",
		"PG_PORT=" + port, "PG_FSYNC=on", "PG_EXTRA=-c shared_buffers=512MB -c max_wal_size=4GB",
	}
}

// startParts starts Kafka and PostgreSQL by the project's scripts, with ports and data of their own below dir, and returns how to
// reach them. stop ends both.
func startParts(ctx context.Context, dir string) (brokers, dsn string, stop func() error, err error) {
	address, err := freePort()
	if err != nil {
		return "", "", nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", nil, err
	}
	run := filepath.Join(dir, "parts")
	err = os.MkdirAll(run, 0o755) //nolint:gosec // the database runs as a user of its own
	if err != nil {
		return "", "", nil, fmt.Errorf("folder of the parts: %w", err)
	}
	env := append(os.Environ(), append(partSettings(port), "PARTS_RUN="+run)...)
	script := func(ctx context.Context, part, verb string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // it may have to be installed
		defer cancel()
		c := exec.CommandContext(ctx, "bash", filepath.Join("parts", part+".sh"), verb)
		c.Env = env
		var said strings.Builder
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			return "", fmt.Errorf("parts/%s.sh %s: %w\n%s", part, verb, err, said.String())
		}
		return string(out), nil
	}
	stop = func() error {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, err := script(late, "kafka", "down")
		_, err2 := script(late, "postgres", "down")
		return errors.Join(err, err2)
	}
	one, err := script(ctx, "kafka", "up")
	if err == nil {
		var two string
		two, err = script(ctx, "postgres", "up")
		one += two
	}
	if err != nil {
		return "", "", nil, errors.Join(err, stop())
	}
	for line := range strings.Lines(one) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "KAFKA_BROKERS":
			brokers = value
		case "DATABASE_URL":
			dsn = value
		}
	}
	return brokers, dsn, stop, nil
}
