package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseURI(t *testing.T) {
	t.Setenv("KRM_TEST_HOST", "kubernetes.default")
	t.Setenv("KRM_TEST_PORT", "6443")
	f := func(flag, prefix, config string) {
		t.Helper()
		gotPrefix, got, err := ParseURI(flag)
		if err != nil {
			t.Errorf("%s: %v", flag, err)
		} else if diff := cmp.Diff([]string{prefix, config}, []string{gotPrefix, got.String()}); diff != "" {
			t.Errorf("%s: %s", flag, diff)
		}
	}
	f("gcm", "gcm", "")
	f("gcm:", "gcm", "")
	f("gcm:?metrics=all", "gcm", "?metrics=all")
	f("influxdb:http://monitoring-influxdb:8086?key=val&key2=val2", "influxdb", "http://monitoring-influxdb:8086?key=val&key2=val2")
	f("kubernetes:https://$KRM_TEST_HOST:${KRM_TEST_PORT}?a=$KRM_TEST_NONE", "kubernetes", "https://kubernetes.default:6443?a=")
	f("kubernetes.summary_api:''", "kubernetes.summary_api", "")
	f(`kubernetes.summary_api:""`, "kubernetes.summary_api", "")
	f("kubernetes.summary_api:''?insecure=true", "kubernetes.summary_api", "?insecure=true")
	f("kubernetes:'https://a:1?insecure=true'", "kubernetes", "https://a:1?insecure=true")
	for _, flag := range []string{"", ":foo", "key:incorrecturl/%gh&%ij"} {
		if prefix, config, err := ParseURI(flag); err == nil {
			t.Errorf("%q gives %s and %v, and should be an error", flag, prefix, config)
		}
	}
}

func TestParse(t *testing.T) {
	f := func(flag string, change func(c *Config)) {
		t.Helper()
		got, err := Parse(flag)
		if err != nil {
			t.Errorf("%s: %v", flag, err)
			return
		}
		want := Config{Prefix: Kubernetes, Cluster: "default", InCluster: true, KubeletHTTPS: true, Cadvisor: true}
		change(&want)
		if want.NetworkExclude == nil && got.NetworkExclude.String() != wholly(DefaultNetworkExclude) {
			t.Errorf("%s: network exclude %v", flag, got.NetworkExclude)
		}
		got.NetworkExclude, want.NetworkExclude = nil, nil
		for i := range got.Warnings {
			got.Warnings[i], _, _ = strings.Cut(got.Warnings[i], " ")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", flag, diff)
		}
	}
	f("kubernetes", func(*Config) {})
	f("kubernetes:", func(*Config) {})
	f("kubernetes.summary_api:''", func(c *Config) { c.Prefix, c.Cadvisor = SummaryAPI, false })
	f("kubernetes.summary_api:?cadvisor=1", func(c *Config) { c.Prefix = SummaryAPI })
	f("kubernetes:https://kubernetes.default:443/some/path", func(c *Config) { c.Server = "https://kubernetes.default:443" })
	f("kubernetes:http://127.0.0.1:8080?inClusterConfig=false&kubeletHttps=false&kubeletPort=10255", func(c *Config) {
		c.Server, c.InCluster, c.KubeletHTTPS, c.KubeletPort = "http://127.0.0.1:8080", false, false, 10255
		c.Warnings = []string{"nothing", "kubelets"}
	})
	f("kubernetes:?inClusterConfig=f&auth=/etc/kubeconfig&useServiceAccount=T&insecure=TRUE&apiVersion=v1", func(c *Config) {
		c.InCluster, c.Auth, c.UseServiceAccount, c.Insecure = false, "/etc/kubeconfig", true, true
		c.Warnings = []string{"apiVersion", "insecure=true:"}
	})
	f("kubernetes:?cluster_name=west-1&prefix=krm2&host_id_annotation=a/b&kubeletCAFile=/ca&kubeletServerName=k&kubeletPreferredAddressTypes=Hostname,InternalIP", func(c *Config) {
		c.Cluster, c.Redis, c.HostIDAnnotation, c.KubeletCAFile, c.KubeletServerName = "west-1", "krm2", "a/b", "/ca", "k"
		c.AddressTypes = []string{"Hostname", "InternalIP"}
	})
	f("kubernetes:?kubeletInsecureTLS=true&cadvisor=false", func(c *Config) {
		c.KubeletInsecureTLS, c.Cadvisor, c.Warnings = true, false, []string{"kubeletInsecureTLS=true:"}
	})
	f("dcgm:", func(c *Config) { c.Prefix, c.Cadvisor, c.Port = DCGM, false, 9400 })
	f("dcgm:http://exporter:9400?nodeSelector=gpu%3Dyes&cluster_name=b&port=9500", func(c *Config) {
		c.Prefix, c.Cadvisor, c.Server, c.NodeSelector, c.Cluster, c.Port = DCGM, false, "http://exporter:9400", "gpu=yes", "b", 9500
	})
}

func TestParseRefuses(t *testing.T) {
	f := func(flag, want string) {
		t.Helper()
		if _, err := Parse(flag); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, and it should say %q", flag, err, want)
		}
	}
	f("", "no prefix")
	f(":foo", "no prefix")
	f("nosuch:http://a", "source not recognized: nosuch")
	f("kubernetes:incorrecturl/%gh&%ij", "parse")
	f("kubernetes:?kubletPort=1", "option kubletPort is not known: kubernetes takes apiVersion, auth, cadvisor, cluster_name")
	f("dcgm:?kubeletPort=1", "dcgm takes")
	f("kubernetes:?insecure=yes", "write true or false")
	f("kubernetes:?insecure=true&insecure=false", "2 times")
	f("kubernetes:?kubeletPort=65536", "1 to 65535")
	f("kubernetes:?kubeletPort=0", "1 to 65535")
	f("kubernetes:?cluster_name=", "a cluster's name")
	f("kubernetes:?cluster_name=a/b", "a cluster's name")
	f("kubernetes:?networkExclude=%28", "missing closing")
	f("kubernetes:?kubeletPreferredAddressTypes=IP", "InternalIP, ExternalIP, Hostname")
	f("kubernetes:?inClusterConfig=false", "invalid kubernetes master url specified")
	f("kubernetes:kubernetes.default", "has no host")
	f("kubernetes:ftp://kubernetes.default", "http or https")
	f("dcgm:?nodeSelector=a%3D%3D%3Db", "label selector")
}
