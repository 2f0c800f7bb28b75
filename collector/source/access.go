package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Access is how kubelets are asked: who we are, and whom we trust. The fields are
// those of a kubeconfig. The zero Access is the pod's service account if the
// source's config says so, and nobody else.
type Access struct {
	Token     string
	TokenFile string // wins over Token; read again when it changes

	Cert, Key         []byte // PEM, of a client's certificate
	CertFile, KeyFile string // win over Cert and Key; read again when they change

	CA     []byte // PEM, of those who sign the kubelets' certificates; the option kubeletCAFile wins
	CAFile string // wins over CA; read once
}

// Where Kubernetes puts a pod's service account.
const (
	accountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	accountCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

func (a *Access) isZero() bool {
	return a.Token == "" && a.TokenFile == "" && len(a.Cert) == 0 && a.CertFile == "" && len(a.CA) == 0 && a.CAFile == ""
}

// orServiceAccount fills in the pod's service account where nothing else was given.
func (a Access) orServiceAccount(c *Config) Access {
	if !a.isZero() || (!c.InCluster && !c.UseServiceAccount) {
		return a
	}
	a.TokenFile = accountToken
	if _, err := os.Stat(accountCA); err == nil {
		a.CAFile = accountCA
	}
	return a
}

// tls says how a kubelet's certificate is checked, and which we show.
func (a *Access) tls(c *Config) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: c.KubeletServerName,
		// The giver asked for it by name, and was warned.
		InsecureSkipVerify: c.Insecure || c.KubeletInsecureTLS,
	}
	var err error
	if config.RootCAs, err = a.pool(c); err != nil {
		return nil, err
	}
	if a.CertFile != "" || len(a.Cert) > 0 {
		pair := keyPair{cert: newFile(a.CertFile, a.Cert), key: newFile(a.KeyFile, a.Key)}
		if _, err := pair.load(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.load() }
	}
	return config, nil
}

// pool returns whom we trust: nil for the system's.
func (a *Access) pool(c *Config) (*x509.CertPool, error) {
	pem, path := a.CA, a.CAFile
	if c.KubeletCAFile != "" {
		path = c.KubeletCAFile
	}
	if path != "" {
		var err error
		if pem, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("read the CA of kubelets: %w", err)
		}
	}
	if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the CA of kubelets: no certificate in PEM form in %s", orInline(path))
	}
	return pool, nil
}

func orInline(path string) string {
	if path == "" {
		return "what was given"
	}
	return path
}

// keyPair is a client's certificate.
type keyPair struct{ cert, key *file }

func (p *keyPair) load() (*tls.Certificate, error) {
	cert, certErr := p.cert.read()
	key, keyErr := p.key.read()
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("read the client's certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the client's certificate: %w", err)
	}
	return &pair, nil
}

// bearer is the token that we show.
type bearer struct{ file *file }

// token returns the token, "" if there is none.
func (b *bearer) token() (string, error) {
	content, err := b.file.read()
	if errors.Is(err, fs.ErrNotExist) && b.file.path == accountToken {
		return "", nil // not in a pod: a 401 will say what is missing
	}
	if err != nil {
		return "", fmt.Errorf("read our token: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}
