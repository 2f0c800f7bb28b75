package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// side is one of the two addresses that are compared, or a proxy in front of one.
type side struct {
	name       string
	config     *rest.Config
	http       *http.Client
	kubeconfig string
	cache      string // where kubectl keeps its discovery of this address alone
}

// newSide describes an address; its kubeconfig is written to dir.
func newSide(name string, config *rest.Config, dir string) (*side, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // no limit on our side
	config.UserAgent = "krm-compat"
	s := &side{name: name, config: config, kubeconfig: filepath.Join(dir, name+".kubeconfig"), cache: filepath.Join(dir, name+".cache")}
	var err error
	if s.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	return s, s.write()
}

func (s *side) write() error {
	const name = "compat" // the same on all sides: some commands print it
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{
		Server: s.config.Host, CertificateAuthority: s.config.CAFile, CertificateAuthorityData: s.config.CAData,
	}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{
		Token: s.config.BearerToken, ClientCertificate: s.config.CertFile, ClientCertificateData: s.config.CertData,
		ClientKey: s.config.KeyFile, ClientKeyData: s.config.KeyData,
	}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	c.CurrentContext = name
	if err := clientcmd.WriteToFile(*c, s.kubeconfig); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", s.name, err)
	}
	return nil
}

// askTimeout bounds one request; watches ask to be ended much earlier.
const askTimeout = 12 * time.Second

// answer is what a side said.
type answer struct {
	path   string // that was asked for
	status int
	header http.Header
	body   []byte
}

// ask sends one request and reads the whole answer.
func (s *side) ask(ctx context.Context, method, path string, header http.Header) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("%s %s: no whole answer within %v", method, clip(path), askTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, s.config.Host+path, nil)
	if err != nil {
		return answer{}, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := s.http.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", s.name, errors.Join(err, context.Cause(ctx)))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, fmt.Errorf("read the answer of %s to %s: %w", s.name, clip(path), errors.Join(err, context.Cause(ctx)))
	}
	return answer{path: path, status: response.StatusCode, header: response.Header, body: body}, nil
}
