package client

import (
	"net/http"

	"k8s.io/client-go/rest"
)

// RESTConfig returns how client-go and controller-runtime reach the same KRM, the
// caller's to change: kubernetes.NewForConfig(krm.RESTConfig()), ctrl.Options and
// so on work with it as with any cluster's. Nothing can be written through KRM
// unless its --passthrough says so.
//
// It accepts protobuf; a server answers with JSON what has none, such as custom
// resources. There is no limit of requests per second. A TokenFile is read anew
// each minute.
func (c *Client) RESTConfig() *rest.Config {
	config := &rest.Config{
		Host:            c.base.String(),
		BearerToken:     c.options.Token,
		BearerTokenFile: c.options.TokenFile,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: c.options.CAFile, CAData: c.options.CAData, ServerName: c.options.ServerName,
			CertFile: c.options.CertFile, KeyFile: c.options.KeyFile,
		},
		UserAgent:          c.userAgent,
		DisableCompression: c.compression == Identity,
		QPS:                -1,
		ContentConfig:      rest.ContentConfig{AcceptContentTypes: mediaProtobuf + "," + mediaJSON},
	}
	if c.options.HTTPClient != nil { // it holds the TLS settings then
		config.Transport = c.options.HTTPClient.Transport
		if config.Transport == nil {
			config.Transport = http.DefaultTransport
		}
	}
	return config
}
