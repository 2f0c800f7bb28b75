package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubernetes-resource-monitor/krm/test/node/figures"
)

const (
	krmListen = "127.0.0.1:8080"
	account   = "krm"
)

// startKRM runs all of KRM in one process, with the rights that it needs and no more.
func (h *house) startKRM(ctx context.Context) error {
	if err := h.makeAccount(ctx); err != nil {
		return err
	}
	kubeconfig, err := h.accountKubeconfig(ctx)
	if err != nil {
		return err
	}
	h.krm, err = h.keep("krm", h.cfg.krm, "standalone", "--kubeconfig="+kubeconfig, "--listen="+krmListen,
		"--resource=pods,nodes,namespaces", "--log-level=info",
		"--metric-resolution="+h.cfg.resolution.String(), "--scrape-offset="+h.offset().String())
	if err != nil {
		return err
	}
	return poll(ctx, 30*time.Second, "KRM to answer", func(ctx context.Context) error {
		if err := h.krm.Alive(); err != nil {
			return err
		}
		return getJSON(ctx, "/api/v1/model/nodes/", nil, new([]string))
	})
}

// makeAccount gives KRM a service account with what its manual asks for.
func (h *house) makeAccount(ctx context.Context) error {
	named := metav1.ObjectMeta{Name: account}
	_, err := h.client.CoreV1().ServiceAccounts(metav1.NamespaceSystem).Create(ctx, &corev1.ServiceAccount{ObjectMeta: named}, metav1.CreateOptions{})
	if err == nil {
		_, err = h.client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: named, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "nodes", "namespaces"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{""}, Resources: []string{"nodes/stats", "nodes/metrics"}, Verbs: []string{"get"}},
		}}, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = h.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: named,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: account},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceSystem, Name: account}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("make KRM's account: %w", err)
	}
	return nil
}

// accountKubeconfig writes a kubeconfig that names the file of the account's token.
func (h *house) accountKubeconfig(ctx context.Context) (path string, err error) {
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	token, err := h.client.CoreV1().ServiceAccounts(metav1.NamespaceSystem).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("get a token for KRM: %w", err)
	}
	if err := os.WriteFile(h.path("krm.token"), []byte(token.Status.Token), 0o600); err != nil {
		return "", fmt.Errorf("keep KRM's token: %w", err)
	}
	cluster, user, kctx := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo(), clientcmdapi.NewContext()
	cluster.Server, cluster.CertificateAuthorityData = h.admin.Host, h.admin.CAData
	user.TokenFile = h.path("krm.token")
	kctx.Cluster, kctx.AuthInfo = "real", account
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["real"], cfg.AuthInfos[account], cfg.Contexts["real"] = cluster, user, kctx
	cfg.CurrentContext = "real"
	path = h.path("krm.kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return "", fmt.Errorf("write KRM's kubeconfig: %w", err)
	}
	return path, nil
}

// getJSON reads a path of KRM's.
func getJSON(ctx context.Context, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	address := (&url.URL{Scheme: "http", Host: krmListen, Path: path, RawQuery: query.Encode()}).String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("ask KRM: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask KRM: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask KRM for %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("read KRM's answer for %s: %w", path, err)
	}
	return nil
}

// modelPath is where the model has an entity's metrics.
func modelPath(k figures.Key) string {
	const root = "/api/v1/model/"
	switch k.Kind {
	case figures.Node:
		return root + "nodes/" + nodeName + "/metrics/"
	case figures.System:
		return root + "nodes/" + nodeName + "/freecontainers/" + k.Container + "/metrics/"
	case figures.Pod:
		return root + "namespaces/" + k.Namespace + "/pods/" + k.Pod + "/metrics/"
	case figures.Container:
		return root + "namespaces/" + k.Namespace + "/pods/" + k.Pod + "/containers/" + k.Container + "/metrics/"
	case figures.Namespace:
		return root + "namespaces/" + k.Namespace + "/metrics/"
	default:
		return root + "metrics/"
	}
}

// series reads one series of the model's.
func series(ctx context.Context, k figures.Key) ([]figures.Point, error) {
	query := url.Values{}
	if k.Resource != "" {
		query.Set("labels", "resource_id:"+k.Resource)
	}
	var answer struct {
		Metrics []struct {
			Timestamp  time.Time `json:"timestamp"`
			Value      float64   `json:"value"`
			FloatValue *float64  `json:"floatValue"`
		} `json:"metrics"`
	}
	if err := getJSON(ctx, modelPath(k)+k.Metric, query, &answer); err != nil {
		return nil, err
	}
	points := make([]figures.Point, 0, len(answer.Metrics))
	for _, m := range answer.Metrics {
		value := m.Value
		if m.FloatValue != nil {
			value = *m.FloatValue
		}
		points = append(points, figures.Point{At: m.Timestamp, Value: value})
	}
	return points, nil
}

// compared reads the series that are compared with those of the kubelet's.
func compared(ctx context.Context, kubelet map[figures.Key]figures.History) (map[figures.Key][]figures.Point, error) {
	all := map[figures.Key][]figures.Point{}
	for key := range kubelet {
		for _, k := range figures.WithRate(key) {
			points, err := series(ctx, k)
			if err != nil {
				return nil, err
			}
			all[k] = points
		}
	}
	return all, nil
}

// everything reads every series that the model lists.
func everything(ctx context.Context) (map[figures.Key][]figures.Point, error) {
	entities, err := entities(ctx)
	if err != nil {
		return nil, err
	}
	all := map[figures.Key][]figures.Point{}
	for _, k := range entities {
		var names []string
		if err := getJSON(ctx, modelPath(k), nil, &names); err != nil {
			return nil, err
		}
		for _, name := range names {
			if strings.HasPrefix(name, "filesystem/") || strings.HasPrefix(name, "disk/") {
				continue // they have labels; those of disks are among what is compared
			}
			k.Metric = name
			points, err := series(ctx, k)
			if err != nil {
				return nil, err
			}
			all[k] = points
		}
	}
	if len(all) == 0 {
		return nil, errors.New("KRM lists no metrics at all")
	}
	return all, nil
}

// entities lists everything of which the model has metrics.
func entities(ctx context.Context) ([]figures.Key, error) {
	const root = "/api/v1/model/"
	all := []figures.Key{{Kind: figures.Cluster}, {Kind: figures.Node}}
	var systems, namespaces []string
	if err := getJSON(ctx, root+"nodes/"+nodeName+"/freecontainers/", nil, &systems); err != nil {
		return nil, err
	}
	for _, name := range systems {
		all = append(all, figures.Key{Kind: figures.System, Container: name})
	}
	if err := getJSON(ctx, root+"namespaces/", nil, &namespaces); err != nil {
		return nil, err
	}
	for _, space := range namespaces {
		all = append(all, figures.Key{Kind: figures.Namespace, Namespace: space})
		var pods []string
		if err := getJSON(ctx, root+"namespaces/"+space+"/pods/", nil, &pods); err != nil {
			return nil, err
		}
		for _, pod := range pods {
			all = append(all, figures.Key{Kind: figures.Pod, Namespace: space, Pod: pod})
			var containers []string
			if err := getJSON(ctx, root+"namespaces/"+space+"/pods/"+pod+"/containers/", nil, &containers); err != nil {
				return nil, err
			}
			for _, c := range containers {
				all = append(all, figures.Key{Kind: figures.Container, Namespace: space, Pod: pod, Container: c})
			}
		}
	}
	return all, nil
}
