package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	authoritiesEvery  = time.Minute     // the cluster's CA is read so often
	authoritiesRetry  = 2 * time.Second // and so often until it was read once
	knownCertificates = 1024
	// believeCertificate is how long a certificate need not be verified again, which
	// costs some 100 µs, for as long as the authorities stay the same.
	believeCertificate = 10 * time.Second
)

// certificates says who shows a client certificate. The cluster's CA decides,
// which kube-system/extension-apiserver-authentication names.
type certificates struct {
	reviewer Reviewer
	trusted  atomic.Pointer[authorities] // nil before it was read
	known    *otter.Cache[[sha256.Size]byte, knownCertificate]
	metrics  *metrics
	log      *slog.Logger
}

type authorities struct {
	text []byte
	pool *x509.CertPool // nil if the cluster knows no client certificates
}

type knownCertificate struct {
	user  User
	by    *authorities
	until time.Time
}

func newCertificates(reviewer Reviewer, m *metrics, log *slog.Logger) *certificates {
	known := otter.Must(&otter.Options[[sha256.Size]byte, knownCertificate]{MaximumSize: knownCertificates})
	return &certificates{reviewer: reviewer, known: known, metrics: m, log: log}
}

// run reads the CA now and again until ctx ends. While it cannot be read, the last
// one holds: by itself it allows nothing.
func (c *certificates) run(ctx context.Context) error {
	for {
		if err := c.refresh(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("cluster's CA of client certificates not read: grant KRM the role extension-apiserver-authentication-reader in kube-system", "err", err)
		}
		wait := authoritiesEvery
		if c.trusted.Load() == nil {
			wait = authoritiesRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (c *certificates) refresh(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	text, err := c.reviewer.ClientCAs(ctx)
	if err != nil {
		return err
	}
	if last := c.trusted.Load(); last != nil && bytes.Equal(last.text, text) {
		return nil
	}
	defer func() { c.metrics.reloaded("client-ca", err) }()
	fresh := &authorities{text: text}
	if len(text) > 0 {
		fresh.pool = x509.NewCertPool()
		if !fresh.pool.AppendCertsFromPEM(text) {
			return errors.New("the cluster's CA holds no certificate in PEM")
		}
	}
	c.trusted.Store(fresh)
	return nil
}

// user says who shows this certificate, with those behind it that lead to the CA.
// It fails with errAway if the CA is not known yet.
func (c *certificates) user(shown []*x509.Certificate) (User, error) {
	by := c.trusted.Load()
	if by == nil {
		return User{}, errAway
	}
	if by.pool == nil {
		return User{}, errors.New("the cluster knows no client certificates")
	}
	sum := sha256.New()
	for _, certificate := range shown {
		sum.Write(certificate.Raw)
	}
	key, now := [sha256.Size]byte(sum.Sum(nil)), time.Now()
	if known, ok := c.known.GetIfPresent(key); ok && known.by == by && now.Before(known.until) {
		return known.user, nil
	}
	user, err := verify(shown, by.pool, now)
	if err != nil {
		return User{}, err
	}
	until := now.Add(believeCertificate)
	if end := shown[0].NotAfter; end.Before(until) {
		until = end
	}
	c.known.Set(key, knownCertificate{user, by, until})
	return user, nil
}

// verify makes a user of a certificate: the common name is the name, the
// organisations are the groups.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates
func verify(shown []*x509.Certificate, roots *x509.CertPool, now time.Time) (User, error) {
	options := x509.VerifyOptions{
		Roots: roots, CurrentTime: now, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, certificate := range shown[1:] {
		options.Intermediates.AddCert(certificate)
	}
	leaf := shown[0]
	if _, err := leaf.Verify(options); err != nil {
		return User{}, fmt.Errorf("verify the certificate of %q: %w", leaf.Subject.CommonName, err)
	}
	if leaf.Subject.CommonName == "" {
		return User{}, errors.New("the certificate has no common name, which would be the user's name")
	}
	fingerprint := sha256.Sum256(leaf.Raw)
	return authenticated(User{
		Name: leaf.Subject.CommonName, Groups: leaf.Subject.Organization, Certificate: true,
		Extra: map[string][]string{"authentication.kubernetes.io/credential-id": {"X509SHA256=" + hex.EncodeToString(fingerprint[:])}},
	}), nil
}
