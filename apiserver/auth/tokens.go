package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"sigs.k8s.io/yaml"
)

// Entry is one static token in the file of --auth-token-file.
type Entry struct {
	Name       string   `json:"name"`       // of the user, in logs and answers
	SHA256     string   `json:"sha256"`     // of the token, in hexadecimal
	Namespaces []string `json:"namespaces"` // which may be read, ["*"] is all
	Resources  []string `json:"resources"`  // "pods", "deployments.apps", "pods/status"; ["*"] is all
}

const acceptedEntry = `an entry is {name: billing, sha256: 64 hexadecimal digits, namespaces: [default] or ["*"], resources: [pods, deployments.apps] or ["*"]}`

var (
	entryName      = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.:@]*[A-Za-z0-9])?$`)
	entryNamespace = regexp.MustCompile(`^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$`)
	entryResource  = regexp.MustCompile(`^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(/[a-z]+)?)$`)
)

// Validate returns all faults of the entry, joined.
func (e Entry) Validate() error {
	var faults []error
	if !entryName.MatchString(e.Name) {
		faults = append(faults, fmt.Errorf("name %q: want letters, digits and -_.:@ between them, such as billing", e.Name))
	}
	if sum, err := hex.DecodeString(e.SHA256); err != nil || len(sum) != sha256.Size {
		faults = append(faults, fmt.Errorf("sha256: want the token's SHA-256, 64 hexadecimal digits; it has %d characters", len(e.SHA256)))
	}
	check := func(what, example string, values []string, accepted *regexp.Regexp) {
		if len(values) == 0 {
			faults = append(faults, fmt.Errorf(`%s: say which, such as [%s], or ["*"] for all`, what, example))
		}
		for _, value := range values {
			if !accepted.MatchString(value) {
				faults = append(faults, fmt.Errorf(`%s: %q: want names such as %s, or "*" for all`, what, value, example))
			}
		}
	}
	check("namespaces", "default", e.Namespaces, entryNamespace)
	check("resources", "deployments.apps", e.Resources, entryResource)
	return errors.Join(faults...)
}

// grant is an entry, ready for use.
type grant struct {
	Entry
	sum [sha256.Size]byte
}

// parseTokens reads a token file.
func parseTokens(text []byte) ([]*grant, error) {
	list, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%w; want a list, and %s", err, acceptedEntry)
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(list, &entries); err != nil || entries == nil {
		return nil, fmt.Errorf("it holds no list of entries ([] is one that lets nobody in); %s", acceptedEntry)
	}
	grants := make([]*grant, 0, len(entries))
	names, sums := map[string]int{}, map[[sha256.Size]byte]int{}
	var faults []error
	for i, text := range entries {
		g, err := parseEntry(text)
		if err == nil && names[g.Name] > 0 {
			err = fmt.Errorf("entry %d has the same name", names[g.Name])
		}
		if err == nil && sums[g.sum] > 0 {
			err = fmt.Errorf("entry %d has the same token", sums[g.sum])
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("entry %d%s: %w", i+1, named(text), err))
			continue
		}
		names[g.Name], sums[g.sum] = i+1, i+1
		grants = append(grants, g)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w; %s", errors.Join(faults...), acceptedEntry)
	}
	return grants, nil
}

func parseEntry(text []byte) (*grant, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	g := &grant{}
	if err := decoder.Decode(&g.Entry); err != nil {
		return nil, err
	}
	if err := g.Validate(); err != nil {
		return nil, err
	}
	sum, err := hex.DecodeString(g.SHA256)
	if err != nil {
		return nil, err
	}
	g.sum = [sha256.Size]byte(sum)
	return g, nil
}

// named is the name that a faulty entry may have, for its fault's text.
func named(text []byte) string {
	var entry struct{ Name string }
	if json.Unmarshal(text, &entry) != nil || entry.Name == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", entry.Name)
}

// tokens is --auth=token.
type tokens struct {
	file    watched
	grants  atomic.Pointer[[]*grant]
	metrics *metrics
	log     *slog.Logger
}

func openTokens(path string, m *metrics, log *slog.Logger) (*tokens, error) {
	t := &tokens{file: watched{paths: []string{path}}, metrics: m, log: log}
	if err := t.reload(); err != nil {
		return nil, fmt.Errorf("read --auth-token-file %s: %w", path, err)
	}
	return t, nil
}

func (t *tokens) reload() error {
	contents, changed, err := t.file.read()
	if err != nil || !changed {
		return err
	}
	grants, err := parseTokens(contents[0])
	t.metrics.reloaded("tokens", err)
	if err != nil {
		return err
	}
	t.grants.Store(&grants)
	return nil
}

func (t *tokens) run(ctx context.Context) error {
	return every(ctx, reloadEvery, func() {
		if err := t.reload(); err != nil {
			t.log.Error("token file not read again, the tokens of before stay in force", "file", t.file.paths[0], "err", err)
		}
	})
}

// authenticate compares with every entry, in the same time wherever they differ.
func (t *tokens) authenticate(_ context.Context, r *http.Request) (User, error) {
	token := bearer(r)
	if token == "" {
		return User{}, unauthenticated()
	}
	sum := sha256.Sum256([]byte(token))
	var found *grant
	for _, g := range *t.grants.Load() {
		if subtle.ConstantTimeCompare(sum[:], g.sum[:]) == 1 {
			found = g
		}
	}
	if found == nil {
		return User{}, unauthenticated()
	}
	if impersonates(r.Header) {
		return User{}, refused("User %q cannot impersonate anyone: with --auth=token every token stands for itself", found.Name)
	}
	return User{Name: found.Name, Groups: []string{groupAuthenticated}, Static: true, grant: found}, nil
}

// authorize lets tokens read what their entry names, and paths that are no
// resources, such as /version; metrics of whole clusters take a token for everything.
func (t *tokens) authorize(_ context.Context, user User, a Attributes) (Decision, error) {
	if user.grant == nil || !user.grant.allows(a) {
		return Decision{}, forbidden(user, a, "")
	}
	return Decision{}, nil
}

func (g *grant) allows(a Attributes) bool {
	if a.Resource == "" {
		return (a.Verb == "get" || a.Verb == "head") && (isDocument(a.Path) || g.everything())
	}
	if a.Verb != "get" && a.Verb != "list" && a.Verb != "watch" {
		return false
	}
	return g.inNamespace(a.Namespace) && g.ofResource(a)
}

// everything says that there is nothing that may not be read.
func (g *grant) everything() bool {
	return slices.Contains(g.Namespaces, "*") && slices.Contains(g.Resources, "*")
}

// inNamespace says whether the namespace may be read; "", which is all of them and
// what stands in none, takes "*".
func (g *grant) inNamespace(namespace string) bool {
	return slices.Contains(g.Namespaces, "*") || namespace != "" && slices.Contains(g.Namespaces, namespace)
}

func (g *grant) ofResource(a Attributes) bool {
	var name strings.Builder
	name.WriteString(a.Resource)
	if a.Group != "" {
		name.WriteString("." + a.Group)
	}
	if a.Subresource != "" {
		name.WriteString("/" + a.Subresource)
	}
	return slices.ContainsFunc(g.Resources, func(resource string) bool { return resource == "*" || resource == name.String() })
}

// isDocument says whether path is none of an object, of a list or of metrics: /version,
// or the documents that say which resources there are.
func isDocument(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch parts[0] {
	case "api":
		return len(parts) <= 2
	case "apis":
		return len(parts) <= 3
	case "clusters": // metrics of other clusters
		return false
	}
	return true
}
