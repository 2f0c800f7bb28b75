package discovery

import (
	"net/http"
	"strings"

	"github.com/munnerz/goautoneg"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/apiserver/headers"
)

// accepted is the form of an answer that a client takes.
type accepted struct {
	form        form
	contentType string
	aggregated  bool
}

const aggregatedParameters = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// offer is a media type and the form that it stands for.
type offer struct {
	media       string
	form        form
	contentType string
}

func listOffers() []offer {
	return []offer{
		{"application/json", formJSON, string(formJSON)},
		{"application/yaml", formYAML, string(formYAML)},
		{"application/vnd.kubernetes.protobuf", formProto, string(formProto)},
	}
}

func openAPIOffers(f form, deprecated string) []offer {
	return []offer{
		{"application/json", formJSON, string(formJSON)},
		{string(f), f, string(f)},
		{deprecated, f, string(f)},
	}
}

// negotiate finds the page and the form that a request for path is answered with.
// refused writes the answer if the client takes none of them.
func negotiate(v *view, path string, r *http.Request) (name string, f accepted, refused func(http.ResponseWriter)) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	clauses := goautoneg.ParseAccept(accept)
	switch {
	case path == openAPIRoot:
		return path, accepted{form: formJSON, contentType: string(formJSON)}, nil
	case strings.HasPrefix(path, "/openapi/"):
		f, ok := negotiateOpenAPI(path, accept, clauses)
		if !ok {
			refused = refuseOpenAPI
		}
		return path, f, refused
	case path == "/version":
		if accept != "" && !anyMatches(clauses, listOffers()[:1]) {
			refused = notAcceptable("406: Not Acceptable\n\nAvailable representations: application/json", &metav1.StatusDetails{})
		}
		return path, accepted{form: formJSON, contentType: string(formJSON)}, refused
	}
	if aggregated := aggregatedName(path); v.pages[aggregated] != nil {
		if f, ok := negotiateList(clauses, r, isAggregated); ok {
			f.aggregated = true
			f.contentType += aggregatedParameters
			return aggregated, f, nil
		}
	}
	if accept == "" {
		return path, accepted{form: pretty(r, nil), contentType: string(formJSON)}, nil
	}
	f, ok := negotiateList(clauses, r, isPlain)
	switch {
	case ok:
	case anyMatches(clauses, listOffers()) || !byFramework(path):
		refused = notAcceptable("only the following media types are accepted: "+mediaTypes, nil)
	default:
		refused = notAcceptable("406: Not Acceptable\n\nAvailable representations: "+mediaTypes, &metav1.StatusDetails{})
	}
	return path, f, refused
}

// byFramework says whether the API server has path answered by its web framework,
// which refuses a media type in words of its own: the built-in groups' lists.
func byFramework(path string) bool {
	gv, is := groupVersionOf(path)
	group, _ := splitGroupVersion(gv)
	return path == "/api" || is && (!strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io"))
}

const mediaTypes = "application/json, application/yaml, application/vnd.kubernetes.protobuf"

// isAggregated and isPlain say whether the parameters of a clause ask for that form.
func isAggregated(params map[string]string) bool {
	return params["g"] == "apidiscovery.k8s.io" && params["v"] == "v2" && params["as"] == "APIGroupDiscoveryList"
}

func isPlain(params map[string]string) bool {
	for _, name := range []string{"as", "g", "v"} {
		if _, there := params[name]; there {
			return false
		}
	}
	return true
}

// negotiateList chooses among the forms of discovery's lists, of those clauses
// whose parameters are wanted.
func negotiateList(clauses []goautoneg.Accept, r *http.Request, wanted func(map[string]string) bool) (accepted, bool) {
	for _, clause := range clauses {
		if !wanted(clause.Params) || clause.Params["sv"] != "" || clause.Params["stream"] != "" && clause.Params["stream"] != "watch" {
			continue
		}
		for _, o := range listOffers() {
			if !matchesMedia(clause, o.media) {
				continue
			}
			f := accepted{form: o.form, contentType: o.contentType}
			if o.form == formJSON {
				f.form = pretty(r, clause.Params)
			}
			return f, true
		}
	}
	return accepted{}, false
}

func negotiateOpenAPI(path, accept string, clauses []goautoneg.Accept) (accepted, bool) {
	offers := openAPIOffers(formV3, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
	if path == openAPIv2Path {
		offers = openAPIOffers(formV2, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
	}
	if accept == "" {
		return accepted{form: formJSON, contentType: string(formJSON)}, true
	}
	for _, clause := range clauses {
		for _, o := range offers {
			if matchesMedia(clause, o.media) {
				return accepted{form: o.form, contentType: o.contentType}, true
			}
		}
	}
	return accepted{}, false
}

func matchesMedia(clause goautoneg.Accept, media string) bool {
	kind, subtype, _ := strings.Cut(media, "/")
	return (clause.Type == kind || clause.Type == "*") && (clause.SubType == subtype || clause.SubType == "*")
}

func anyMatches(clauses []goautoneg.Accept, offers []offer) bool {
	for _, clause := range clauses {
		for _, o := range offers {
			if matchesMedia(clause, o.media) {
				return true
			}
		}
	}
	return false
}

// pretty returns the form of JSON that people get, if they ask.
func pretty(r *http.Request, params map[string]string) form {
	if headers.WantsPretty(r, params) {
		return formPretty
	}
	return formJSON
}

func notAcceptable(message string, details *metav1.StatusDetails) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		writeStatus(w, http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, message, details)
	}
}

// refuseOpenAPI is the API server's bare refusal.
func refuseOpenAPI(w http.ResponseWriter) {
	w.Header().Set("Vary", "Accept")
	w.WriteHeader(http.StatusNotAcceptable)
}
