package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLS makes a configuration of PEM texts: the authorities that are trusted ("" those of the system), our certificate and its key ("" none),
// and the name on the brokers' certificates ("" the host that is dialled).
func TLS(ca, cert, key, serverName string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("TLS for Kafka: there is no certificate in what the authority gave")
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			return nil, fmt.Errorf("TLS for Kafka: our certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
