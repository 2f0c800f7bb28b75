package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// usage is an object of metrics.k8s.io.
type usage struct {
	Kind, APIVersion string
	Metadata         struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Timestamp  time.Time
	Window     string
	Usage      map[string]string
	Containers []struct {
		Name  string
		Usage map[string]string
	}
}

// good says what is wrong with a usage, whatever it is of.
func (u usage) good() error {
	window, err := time.ParseDuration(u.Window)
	if err != nil || window <= 0 || window > 4*resolution {
		return fmt.Errorf("%s: window %q", u.Metadata.Name, u.Window)
	}
	if age := time.Since(u.Timestamp); age < -resolution || age > 6*resolution {
		return fmt.Errorf("%s: timestamp %v", u.Metadata.Name, u.Timestamp)
	}
	all := []map[string]string{u.Usage}
	if u.Usage == nil {
		all = nil
	}
	for _, c := range u.Containers {
		all = append(all, c.Usage)
	}
	for _, one := range all {
		if one["cpu"] == "" || one["memory"] == "" || one["memory"] == "0" {
			return fmt.Errorf("%s uses %v", u.Metadata.Name, one)
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("%s uses nothing", u.Metadata.Name)
	}
	return nil
}

// usages wants a list of these objects alone, or among others if more is true.
func usages(kind string, among bool, names ...string) check {
	return reads(func(l struct {
		Kind, APIVersion string
		Items            []usage
	},
	) error {
		if l.Kind != kind+"List" || !strings.HasPrefix(l.APIVersion, "metrics.k8s.io/") {
			return fmt.Errorf("a %s of %s", l.Kind, l.APIVersion)
		}
		var got []string
		for _, u := range l.Items {
			if err := u.good(); err != nil {
				return err
			}
			got = append(got, u.Metadata.Name)
		}
		if !among && !slices.Equal(got, names) {
			return fmt.Errorf("%q, want %q", got, names)
		}
		for _, name := range names {
			if !slices.Contains(got, name) {
				return fmt.Errorf("%q, want %q among them", got, name)
			}
		}
		return nil
	})
}

func oneUsage(kind, name string) check {
	return reads(func(u usage) error {
		if u.Kind != kind || u.Metadata.Name != name {
			return fmt.Errorf("a %s named %s", u.Kind, u.Metadata.Name)
		}
		return u.good()
	})
}

// resourceEndpoints are those of metrics.k8s.io, in both versions.
func resourceEndpoints() (all []endpoint) {
	web := []string{"web-0", "web-1", "web-2", "web-3"}
	for _, version := range []string{"v1beta1", "v1"} {
		root := "/apis/metrics.k8s.io/" + version
		pods := root + "/namespaces/" + space + "/pods"
		all = append(all,
			get(root+"/nodes", usages("NodeMetrics", true, good, otherGood)),
			get(root+"/nodes?labelSelector="+url.QueryEscape("kubernetes.io/hostname in ("+good+","+otherGood+")"), usages("NodeMetrics", false, good, otherGood)),
			get(root+"/nodes/"+good, oneUsage("NodeMetrics", good)),
			get(root+"/pods", usages("PodMetrics", true, web...)),
			get(pods, usages("PodMetrics", true, web...)),
			get(pods+"?labelSelector=app%3Dweb", usages("PodMetrics", false, web...)),
			get(pods+"?labelSelector=app%3Dnosuch", usages("PodMetrics", false)),
			get(pods+"?fieldSelector=metadata.name%3Dweb-1", usages("PodMetrics", false, "web-1")),
			get(pods+"?labelSelector=app%3Dweb&limit=2", usages("PodMetrics", false, "web-0", "web-1")),
			get(pods+"/web-2", oneUsage("PodMetrics", "web-2")),
			get(root+"/nodes/nosuch", says(404, `"NotFound"`)),
			get(pods+"/nosuch", says(404, `"NotFound"`)),
			get(pods+"?labelSelector=%21%21", says(400, `"BadRequest"`)),
			get(root, reads(func(l struct {
				Kind      string
				Resources []struct{ Name, Kind string }
			},
			) error {
				var names []string
				for _, r := range l.Resources {
					names = append(names, r.Name+" "+r.Kind)
				}
				if slices.Sort(names); l.Kind != "APIResourceList" || !slices.Equal(names, []string{"nodes NodeMetrics", "pods PodMetrics"}) {
					return fmt.Errorf("%s of %q", l.Kind, names)
				}
				return nil
			})),
			endpoint{
				method: http.MethodGet, path: pods, headers: []string{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"},
				check: reads(func(t struct {
					Kind string
					Rows []struct{ Cells []any }
				},
				) error {
					if t.Kind != "Table" || len(t.Rows) < len(web) || len(t.Rows[0].Cells) < 3 {
						return fmt.Errorf("a %s of %d rows", t.Kind, len(t.Rows))
					}
					return nil
				}),
			},
		)
	}
	group := says(200, "metrics.k8s.io", "v1beta1", `"v1"`)
	return append(all,
		get("/apis", group),
		endpoint{method: http.MethodGet, path: "/apis", headers: []string{"Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}, check: says(200, "metrics.k8s.io", "PodMetrics")},
		get("/apis/metrics.k8s.io", says(200, "metrics.k8s.io/v1beta1", "metrics.k8s.io/v1")),
	)
}
