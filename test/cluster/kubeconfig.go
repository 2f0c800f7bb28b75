package main

import (
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// writeKubeconfig writes a kubeconfig with user's certificate inside, so that
// the file may be moved or mounted elsewhere.
func writeKubeconfig(d Dir, path, server, user string) error {
	const name = "krm-test"
	read := func(file string, into *[]byte) error {
		data, err := os.ReadFile(d.pki(file))
		*into = data
		return err
	}
	cluster, auth := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo()
	cluster.Server = server
	for file, into := range map[string]*[]byte{
		"ca.crt":      &cluster.CertificateAuthorityData,
		user + ".crt": &auth.ClientCertificateData,
		user + ".key": &auth.ClientKeyData,
	} {
		if err := read(file, into); err != nil {
			return fmt.Errorf("write kubeconfig of %s: %w", user, err)
		}
	}
	kctx := clientcmdapi.NewContext()
	kctx.Cluster, kctx.AuthInfo = name, user
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[name], cfg.AuthInfos[user], cfg.Contexts[name] = cluster, auth, kctx
	cfg.CurrentContext = name
	text, err := clientcmd.Write(*cfg)
	if err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", user, err)
	}
	if err := writeFile(path, text, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", user, err)
	}
	return nil
}

// connect returns an admin client of the cluster in d. It does not wait its turn
// in a client-side rate limit.
func connect(d Dir) (*kubernetes.Clientset, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.kubeconfig(), err)
	}
	cfg.QPS = -1
	cfg.ContentConfig = rest.ContentConfig{
		AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		ContentType:        "application/vnd.kubernetes.protobuf",
	}
	cfg.UserAgent = "krm-test-cluster"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect with %s: %w", d.kubeconfig(), err)
	}
	return client, nil
}
