package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"syscall"
	_ "time/tzdata" // machines without a zone database answer the same

	"tocsin/config"
	"tocsin/internal/journal/disk"
)

// ServeOptions say what to serve.
type ServeOptions struct {
	Config string            // path of the configuration; "": the starter set-up in ./data
	Stdout io.Writer         // where the first words to a newcomer go
	Stderr io.Writer         // where the log goes
	Ready  func(addr string) // called once the doors accept; nil: nobody is told

	opened func(*App) // called before anything runs; nil: nobody is told
}

// A Problem is one mistake or doubt in a configuration.
type Problem = config.Problem

// ErrConfig means that the configuration has mistakes; they have been printed.
var ErrConfig = errors.New("the configuration has mistakes")

// Check reads a configuration and tells everything that is wrong with it, and what in it is not in force yet.
func Check(path string) (problems []Problem, notInForce []string, err error) {
	c, problems := config.Load(path)
	if c == nil {
		return problems, nil, nil
	}
	_, err = (&App{}).build(c)
	return problems, c.NotInForce(), err
}

// Serve runs tocsin until ctx ends, or a SIGTERM or SIGINT comes; SIGHUP reloads the configuration. A second SIGTERM ends it at once.
func Serve(ctx context.Context, o ServeOptions) error {
	log := slog.New(slog.NewTextHandler(o.Stderr, nil))
	path, starter := o.Config, false
	if path == "" {
		var err error
		path, err = starterFile()
		if err != nil {
			return err
		}
		starter = true
	}
	c, problems := config.Load(path)
	for _, p := range problems {
		fmt.Fprintln(o.Stderr, p)
	}
	if c == nil {
		return ErrConfig
	}
	for _, line := range c.NotInForce() {
		log.Warn("not in force yet", "what", line)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a, err := open(ctx, c, path, log)
	if err != nil {
		return err
	}
	if o.opened != nil {
		o.opened(a)
	}
	go a.hearHangups(ctx)
	context.AfterFunc(ctx, func() { dieOnSecond(log) })
	err = a.welcome(ctx, o.Stdout, starter)
	if err != nil {
		return errors.Join(err, a.listener.Close(), a.close())
	}
	if o.Ready != nil {
		o.Ready(a.listener.Addr().String())
	}
	defer newFloor().end()
	defer useAllCores()()
	return a.run(ctx)
}

// dieOnSecond ends the process at the second request to stop: what is durable is durable.
func dieOnSecond(log *slog.Logger) {
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGTERM, syscall.SIGINT)
	log.Info("stopping", "grace", grace)
	go func() {
		<-again
		os.Exit(1)
	}()
}

// starterFile returns the path of the starter's configuration, made once with secrets of its own.
func starterFile() (string, error) {
	const dir = "data"
	path := filepath.Join(dir, "starter.yaml")
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	err = os.MkdirAll(dir, 0o750)
	if err != nil {
		return "", fmt.Errorf("starter set-up: %w", err)
	}
	const address = "127.0.0.1:8080"
	text := config.Starter(address, "http://"+address, config.StarterSecrets{Robot: secret(), Prometheus: secret(), PagerDuty: secret(), Scripts: secret()})
	err = os.WriteFile(path, text, 0o600)
	if err != nil {
		return "", fmt.Errorf("starter set-up: %w", err)
	}
	return path, nil
}

// secret returns 32 random hexadecimal digits.
func secret() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// welcome says how to reach the console, and with the starter set-up also what to try.
func (a *App) welcome(ctx context.Context, w io.Writer, starter bool) error {
	s := a.setup.Load()
	if !starter {
		_, err := fmt.Fprintf(w, "tocsin serves %s on %s\n", a.path, a.listener.Addr())
		return err
	}
	link, err := a.api.IssueLoginLink(ctx, "robot")
	if err != nil {
		return err
	}
	key := ""
	for _, src := range s.file.Sources {
		if len(src.Keys) > 0 {
			key = src.Keys[0].Key
		}
	}
	_, err = fmt.Fprintf(w, `tocsin is ready, with the starter set-up %s

  The console: %s
  Log in by this link, once, within 15 minutes:
    %s

  Send an alert from another terminal:
    curl -sS %s/v2/enqueue -H 'Content-Type: application/json' -d '{"routing_key":"%s","event_action":"trigger","dedup_key":"demo","payload":{"summary":"replication lag 340s","source":"db-1.example.org","severity":"critical","custom_details":{"service":"db-main"}}}'

  Its pages go to the outbox, %s/outbox, where you can answer them. Then let it end:
    curl -sS %s/v2/enqueue -H 'Content-Type: application/json' -d '{"routing_key":"%s","event_action":"resolve","dedup_key":"demo"}'

`, a.path, s.public, link, s.public, key, s.public, s.public, key)
	return err
}

// hearHangups reloads the configuration at each SIGHUP.
func (a *App) hearHangups(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			_ = a.Reload(ctx) // it has been logged and counted
		}
	}
}

// Reload reads the configuration again and puts it in force, or says what is wrong with it and changes nothing.
func (a *App) Reload(ctx context.Context) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	err := a.takeOver(ctx)
	if err != nil {
		a.reloads.WithLabelValues("refused").Inc()
		a.reloaded.Set(0)
		a.log.Error("configuration not reloaded, the one before stays in force", "file", a.path, "error", err)
		return err
	}
	a.reloads.WithLabelValues("ok").Inc()
	a.reloaded.Set(1)
	a.log.Info("configuration reloaded", "file", a.path)
	return nil
}

func (a *App) takeOver(ctx context.Context) error {
	c, problems := config.Load(a.path)
	if c == nil {
		var errs []error
		for _, p := range problems {
			if !p.Warning {
				errs = append(errs, errors.New(p.String()))
			}
		}
		return errors.Join(errs...)
	}
	was := a.setup.Load()
	s, err := a.build(c)
	if err != nil {
		return err
	}
	if c.Server.Listen != was.file.Server.Listen || !sameStorage(c.Storage, was.file.Storage) {
		a.log.Warn("server.listen and storage take effect at the next start")
	}
	err = a.pager.Replace(s.channels)
	if err != nil {
		return err
	}
	s.rotas.keep(was.rotas, a.clock.Now(), func(name string) bool { _, ok := s.plan.People[name]; return ok })
	err = a.sources.Replace(s.sources)
	if err != nil {
		return err
	}
	a.setup.Store(s)
	err = a.publish(ctx, s, true)
	if err != nil {
		a.log.Warn("new rules are not in force before the journal takes records again", "error", err)
	}
	err = a.tellMoved(ctx, was, s)
	if err != nil {
		a.log.Warn("those who are on call now were not told of the change", "error", err)
	}
	return nil
}

// sameStorage reports whether two configurations mean the same storage, wherever in their files they say so.
func sameStorage(a, b config.Storage) bool {
	plain := func(s config.Storage) config.Storage {
		if s.Kafka != nil {
			k := *s.Kafka
			k.At = config.Place{}
			s.Kafka = &k
		}
		if s.Postgres != nil {
			s.Postgres = &config.Postgres{DSN: s.Postgres.DSN}
		}
		return s
	}
	return reflect.DeepEqual(plain(a), plain(b))
}

// Repair mends a journal that is refused because of damage, and says what it did. Nothing is deleted: what is of no use is
// renamed, and no offset is used twice.
func Repair(dir string) (did []string, err error) {
	return disk.Repair(filepath.Join(dir, "journal"), disk.Options{})
}

// StorageDir returns the folder of the embedded storage that a configuration names.
func StorageDir(path string) (string, error) {
	c, problems := config.Load(path)
	if c == nil {
		for _, p := range problems {
			if !p.Warning {
				return "", errors.New(p.String())
			}
		}
	}
	return c.Storage.Dir, nil
}
