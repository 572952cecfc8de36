package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAllOfKafkaIsRead(t *testing.T) {
	cert, key := certificate(t)
	files := map[string]string{"ca.pem": cert, "cert.pem": cert, "key.pem": key, "password": "secret\n"}
	world := World{Read: func(name string) ([]byte, error) { return []byte(files[name]), nil }}
	data := strings.Replace(contents(t, "testdata/contract.yaml"), "  # journal: {kafka: {brokers: [127.0.0.1:9092], topic: tocsin.alerts, partitions: 12}}", `
  journal:
    kafka:
      brokers: [a.example.org:9093, b.example.org:9093]
      topic: alerts
      partitions: 24
      replication: 3
      retention: 4w
      tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem, server_name: kafka.example.org}
      sasl: {mechanism: scram-sha-512, username: tocsin, password_file: password}
`, 1)
	c, ps := Parse("tocsin.yaml", []byte(data), world)
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	want := &Kafka{
		Brokers: []string{"a.example.org:9093", "b.example.org:9093"}, Topic: "alerts", Partitions: 24, Replication: 3, Retention: 4 * Week, Feed: "tocsin.incidents",
		TLS:  &KafkaTLS{CA: strings.TrimSpace(cert), Cert: strings.TrimSpace(cert), Key: strings.TrimSpace(key), ServerName: "kafka.example.org"},
		SASL: &KafkaSASL{Mechanism: SASLScramSHA512, Username: "tocsin", Password: "secret"},
	}
	if diff := cmp.Diff(want, c.Storage.Kafka, cmpopts.IgnoreTypes(Place{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTLSForKafkaNeedsNoMoreThanToBeWanted(t *testing.T) {
	data := strings.Replace(contents(t, "testdata/contract.yaml"), "  # journal: {kafka: {brokers: [127.0.0.1:9092], topic: tocsin.alerts, partitions: 12}}",
		"  journal: {kafka: {brokers: [a.example.org:9093], tls: {}}}", 1)
	c, ps := Parse("tocsin.yaml", []byte(data), World{})
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", strings.Join(lines(ps), "\n"))
	}
	want := &Kafka{Brokers: []string{"a.example.org:9093"}, Topic: "tocsin.alerts", Partitions: 12, Feed: "tocsin.incidents", TLS: &KafkaTLS{}}
	if diff := cmp.Diff(want, c.Storage.Kafka, cmpopts.IgnoreTypes(Place{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// certificate returns a certificate that signs itself, and its key, as PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder}))
}
