package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin/internal/store"
	"tocsin/internal/store/postgres"
	"tocsin/parts/partstest"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate
}

func newAuthority(t *testing.T, dir, name string) authority {
	t.Helper()
	a := authority{file: filepath.Join(dir, name+".crt")}
	own := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.signs(t, own, a.file)
	return a
}

// signs makes a key and its certificate, which it writes to file; an authority that is none yet signs its own.
func (a authority) signs(t *testing.T, c *x509.Certificate, file string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	save(t, file, "CERTIFICATE", der)
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func save(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	if err != nil {
		t.Fatal(err)
	}
}

// startWithTLS starts a server that speaks TLS, with a certificate for 127.0.0.1 alone, and returns its address without a word about TLS.
func startWithTLS(t *testing.T, dir string, a authority) string {
	t.Helper()
	cert, private := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	_, key := a.signs(t, &x509.Certificate{Subject: pkix.Name{CommonName: "database"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"db.example.org"}}, cert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	save(t, private, "PRIVATE KEY", der)
	if os.Getuid() == 0 { // the server runs as somebody else, and wants them to be its own
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{cert, private} {
			err = os.Chown(file, uid, -1)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	server := partstest.StartPostgreSQL(t, "PG_EXTRA=-c ssl=on -c ssl_cert_file="+cert+" -c ssl_key_file="+private)
	return server.URL
}

func TestTheServersCertificateIsCheckedAsTheAddressAsks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, others := newAuthority(t, dir, "ours"), newAuthority(t, dir, "others")
	address := startWithTLS(t, dir, ours)
	for name, tc := range map[string]struct {
		host, mode, root string
		want             string // what the error says; "" for none
	}{
		"verify-full": {"127.0.0.1", "verify-full", ours.file, ""},
		"verify-full of a server of another name":   {"localhost", "verify-full", ours.file, "certificate is valid for db.example.org, not localhost"},
		"verify-full without knowing the authority": {"127.0.0.1", "verify-full", "", "the server's certificate was not accepted"},
		"verify-full by another authority":          {"127.0.0.1", "verify-full", others.file, "the server's certificate was not accepted"},
		"verify-ca asks for no name":                {"localhost", "verify-ca", ours.file, ""},
		"verify-ca by another authority":            {"localhost", "verify-ca", others.file, "the server's certificate was not accepted"},
		"require":                                   {"localhost", "require", "", ""},
		"an authority that is not there":            {"127.0.0.1", "verify-full", filepath.Join(dir, "nowhere"), "unable to read CA file"},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			u.Host = net.JoinHostPort(tc.host, u.Port())
			q := url.Values{"sslmode": {tc.mode}}
			if tc.root != "" {
				q.Set("sslrootcert", tc.root)
			}
			u.RawQuery = q.Encode()
			db, err := postgres.Open(t.Context(), u.String(), postgres.Options{})
			if err == nil {
				defer db.Close()
			}
			switch {
			case (err == nil) != (tc.want == ""):
				t.Fatalf("open = %v, want %q", err, tc.want)
			case err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Count(err.Error(), "\n") > 2):
				t.Fatalf("open = %v, want a sentence with %q", err, tc.want)
			case err != nil:
				return
			}
			var open, plain int
			err = db.View(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Partitions() // by a connection that is there as long as this lasts
				if err != nil {
					return err
				}
				return raw(t, address).QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
					WHERE application_name = 'tocsin'`).Scan(&open, &plain)
			})
			if err != nil || open == 0 || plain > 0 {
				t.Errorf("%d connections, %d of them without TLS, %v; want some, all with it", open, plain, err)
			}
		})
	}
}
