package partstest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A Kafka is a cluster of a test's own, whose nodes it may kill.
type Kafka struct {
	Brokers string // host:port, by commas
	Vars    map[string]string

	t      testing.TB
	script string
	env    []string
}

// StartKafka starts a cluster of 1 or 3 nodes by parts/kafka.sh, with free ports and a data folder of its own, and stops it when the
// test ends. settings are further NAME=value of the script.
func StartKafka(t testing.TB, nodes int, settings ...string) *Kafka {
	t.Helper()
	Program(t, "java")
	k := &Kafka{t: t, script: filepath.Join(root(t), "parts", "kafka.sh")}
	settings = append(settings, "KAFKA_PORTS=free", "KAFKA_NODES="+strconv.Itoa(nodes), "PARTS_RUN="+t.TempDir())
	k.env = append(os.Environ(), settings...)
	installed := exec.CommandContext(t.Context(), "bash", k.script, "installed")
	installed.Env = k.env
	if installed.Run() != nil {
		absent(t, "Kafka is not installed", "run `bash parts/kafka.sh install`")
	}
	k.Vars = Start(t, "kafka", "java", settings...)
	k.Brokers = k.Vars["KAFKA_BROKERS"]
	return k
}

// Kill ends node n, counted from 1, without warning.
func (k *Kafka) Kill(n int) { k.do("kill", n) }

// Start starts node n again, with the data that it had, and returns when it is ready.
func (k *Kafka) Start(n int) { k.do("start", n) }

func (k *Kafka) do(what string, n int) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", k.script, what, strconv.Itoa(n))
	c.Env = k.env
	if out, err := c.CombinedOutput(); err != nil {
		k.t.Fatalf("%s Kafka node %d: %v\n%s", what, n, err, out)
	}
}
