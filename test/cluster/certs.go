package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"
)

// serviceIP is the address of the Service "kubernetes": the first of serviceCIDR.
const serviceIP = "10.96.0.1"

// caLife is how long certificates are good: longer than any test cluster lives.
const caLife = 10 * 365 * 24 * time.Hour

// authority signs certificates; its own are name.crt and name.key in DIR/pki.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// identity is the subject of one certificate and what it may be used for.
type identity struct {
	file   string   // DIR/pki/file.crt and .key
	name   string   // common name: the user
	groups []string // organisations: the user's groups
	hosts  []string // addresses and names of a server; none for a client
}

// makePKI fills DIR/pki: two authorities, the key of service account tokens and
// one certificate per identity. Authorities and the token key of an earlier run
// are kept, so that its credentials stay valid; leaf certificates are made anew.
// host is the address of kube-apiserver.
func makePKI(d Dir, host string) error {
	cluster, err := openAuthority(d, "ca", "krm-test-cluster")
	if err != nil {
		return err
	}
	front, err := openAuthority(d, "front-proxy-ca", "krm-test-front-proxy")
	if err != nil {
		return err
	}
	if _, err := openKey(d.pki("sa.key"), d.pki("sa.pub")); err != nil {
		return err
	}
	signed := []identity{
		{file: "apiserver", name: "kube-apiserver", hosts: []string{
			loopback, host, serviceIP, "localhost", "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		{file: "apiserver-kubelet-client", name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{file: "admin", name: "kubernetes-admin", groups: []string{"system:masters"}},
		{file: "kube-controller-manager", name: "system:kube-controller-manager"},
		{file: "kube-scheduler", name: "system:kube-scheduler"},
		{file: "kwok", name: "kwok-controller", groups: []string{"system:masters"}},
	}
	for _, id := range signed {
		if err := cluster.issue(d, id); err != nil {
			return err
		}
	}
	return front.issue(d, identity{file: "front-proxy-client", name: "front-proxy-client"})
}

// openAuthority reads the authority of an earlier run, or makes one.
func openAuthority(d Dir, file, name string) (*authority, error) {
	key, err := openKey(d.pki(file+".key"), "")
	if err != nil {
		return nil, err
	}
	crt := d.pki(file + ".crt")
	data, err := os.ReadFile(crt)
	if err == nil {
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%s holds no certificate: start with --fresh", crt)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s (start with --fresh): %w", crt, err)
		}
		return &authority{cert: cert, key: key}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	template, err := newTemplate(pkix.Name{CommonName: name})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", name, err)
	}
	return &authority{cert: cert, key: key}, writePEM(crt, "CERTIFICATE", der, 0o644)
}

// issue writes a certificate for id, valid as client and, if id has hosts, as server.
func (a *authority) issue(d Dir, id identity) error {
	key, err := openKey(d.pki(id.file+".key"), "")
	if err != nil {
		return err
	}
	template, err := newTemplate(pkix.Name{CommonName: id.name, Organization: id.groups})
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(id.hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range id.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign certificate %s: %w", id.file, err)
	}
	return writePEM(d.pki(id.file+".crt"), "CERTIFICATE", der, 0o644)
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(caLife),
	}, nil
}

// openKey reads the private key at path, or makes one there. If public is not
// empty, the public half is written to it.
func openKey(path, public string) (crypto.Signer, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open key %s (start with --fresh if it is damaged): %w", path, err)
	}
	if public == "" {
		return key, nil
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode the public key of %s: %w", path, err)
	}
	return key, writePEM(public, "PUBLIC KEY", der, 0o644)
}

func readKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func makeKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der, 0o600)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	if err := writeFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
