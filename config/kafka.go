package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
)

// How Kafka's brokers are told who we are.
const (
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
)

// Kafka is a journal outside.
type Kafka struct {
	Brokers     []string // host:port
	Topic       string   // default tocsin.alerts
	Partitions  int      // default 12
	Replication int      // copies of each partition; default 0: 3 where there are three brokers, else 1
	Retention   Duration // how long alerts are kept at least; default 0: two weeks for a new topic, as long as it says for an old one
	Feed        string   // topic that changes are published to, for others to read; default tocsin.incidents; "" none
	TLS         *KafkaTLS
	SASL        *KafkaSASL
	At          Place
}

// KafkaTLS is how the brokers prove who they are, and we to them. The zero value trusts what the system trusts.
type KafkaTLS struct {
	CA         string // PEM of the authorities that are trusted; "" the system's
	Cert       string // PEM of our certificate; "" none
	Key        string // PEM of its key; a secret
	ServerName string // on the brokers' certificates; "" the host that is dialled
}

// KafkaSASL is a name and a password.
type KafkaSASL struct {
	Mechanism string // plain, scram-sha-256 or scram-sha-512
	Username  string
	Password  string // a secret
}

func (r *reader) kafka(n *node) *Kafka {
	s := r.section(n)
	defer s.done()
	out := &Kafka{
		Brokers: s.texts("brokers"), Topic: s.text("topic", "tocsin.alerts"), Partitions: s.whole("partitions", 12, 1, 1024),
		Replication: s.whole("replication", 0, 1, 32), Retention: s.duration("retention", 0), At: n.at,
	}
	if n, ok := s.get("retention"); ok && out.Retention == 0 {
		s.problem(n, "nothing would be kept", "a length such as 2w")
	}
	for _, b := range s.list("brokers") {
		if b.kind == text {
			r.address(b, b.said, 1, "9092")
		}
	}
	if len(out.Brokers) == 0 {
		s.missing("brokers", "such as [127.0.0.1:9092]")
	}
	out.Feed = s.feed(out.Topic)
	if n, ok := s.get("tls"); ok {
		out.TLS = r.kafkaTLS(n)
	}
	if n, ok := s.get("sasl"); ok {
		out.SASL = r.kafkaSASL(n, out)
	}
	return out
}

// feed returns the topic of the feed: none is the word for no feed.
func (s *section) feed(journal string) string {
	topic := s.text("feed", "tocsin.incidents")
	if topic == "none" {
		return ""
	}
	if topic == journal || topic == journal+".dead" {
		s.complain(s.place("feed"), fmt.Sprintf("%s is the journal's own topic", topic), "give the feed another, or say none")
	}
	return topic
}

func (r *reader) kafkaTLS(n *node) *KafkaTLS {
	s := r.section(n)
	defer s.done()
	out := &KafkaTLS{CA: s.pem("ca_file"), Cert: s.pem("cert_file"), Key: s.pem("key_file"), ServerName: s.text("server_name", "")}
	if out.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(out.CA)) {
		r.complain(s.place("ca_file"), "there is no certificate in it", "PEM, as the brokers' authority gives it")
	}
	_, hasCert := s.get("cert_file")
	_, hasKey := s.get("key_file")
	switch {
	case hasCert != hasKey:
		key := "key_file"
		if hasKey {
			key = "cert_file"
		}
		s.missing(key, "a certificate and its key belong together")
	case out.Cert != "" && out.Key != "":
		_, err := tls.X509KeyPair([]byte(out.Cert), []byte(out.Key))
		if err != nil {
			r.complain(s.place("cert_file"), "it does not fit to key_file: "+cause(err), "PEM of a certificate and of its key")
		}
	}
	return out
}

// pem returns what stands in the file at key, or "".
func (s *section) pem(key string) string {
	n, ok := s.get(key)
	if !ok {
		return ""
	}
	path, ok := s.filled(n)
	if !ok {
		return ""
	}
	return s.secretFile(n, path)
}

func (r *reader) kafkaSASL(n *node, k *Kafka) *KafkaSASL {
	s := r.section(n)
	defer s.done()
	out := &KafkaSASL{Mechanism: s.word("mechanism", "mechanism", "", SASLPlain, SASLScramSHA256, SASLScramSHA512)}
	if _, ok := s.get("mechanism"); !ok {
		s.missing("mechanism", fmt.Sprintf("one of %s, %s, %s", SASLPlain, SASLScramSHA256, SASLScramSHA512))
	}
	out.Username = s.need("username", "the name that the brokers know")
	var at Place
	out.Password, at = s.secret("password", true)
	for _, b := range k.Brokers {
		host, _, _ := net.SplitHostPort(b)
		ip := net.ParseIP(host)
		if out.Mechanism == SASLPlain && k.TLS == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			r.warn(at, "the password goes over the network in clear", "add tls: {}")
			break
		}
	}
	return out
}
