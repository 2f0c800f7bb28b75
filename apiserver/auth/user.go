package auth

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// User is who sent a request. It holds a credential: it prints without it.
type User struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string

	// Token is the bearer token that the request came with, for pass-through only.
	// It is "" for certificates and for static tokens, which are KRM's own.
	Token string
	// Certificate says that a client certificate, and no token, told who it is.
	Certificate bool
	// Static says that a token of KRM's own file told who it is.
	Static bool

	id    [sha256.Size]byte // of Name, UID, Groups and Extra; zero if not computed yet
	grant *grant            // what a static token may read
	held  time.Duration     // how old the review is that told who it is, if it could not be repeated; else 0
}

// String names the user, without credentials.
func (u User) String() string { return u.Name }

// Format is String for every verb: no way of printing shows the token.
func (u User) Format(f fmt.State, _ rune) { fmt.Fprint(f, u.Name) }

// LogValue is String.
func (u User) LogValue() slog.Value { return slog.StringValue(u.Name) }

// MarshalJSON is the name.
func (u User) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", u.Name), nil }

// identity is what the user's rights hang on: equal for equal names, UIDs, groups
// and extras, whatever token told of them.
func (u User) identity() [sha256.Size]byte {
	if u.id != ([sha256.Size]byte{}) {
		return u.id
	}
	sum := sha256.New()
	write(sum, u.Name, u.UID)
	groups := slices.Sorted(slices.Values(u.Groups))
	write(sum, groups...)
	for _, key := range slices.Sorted(maps.Keys(u.Extra)) {
		write(sum, key)
		write(sum, u.Extra[key]...)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// write adds texts to sum so that no other texts give the same bytes.
func write(sum hash.Hash, texts ...string) {
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(len(texts)))
	sum.Write(size[:]) // a hash never fails
	for _, text := range texts {
		binary.LittleEndian.PutUint64(size[:], uint64(len(text)))
		sum.Write(size[:])
		sum.Write([]byte(text))
	}
}

// Attributes are what a request asks for, in the words of RBAC: a resource, or,
// if Resource is "", the path of something that is none.
type Attributes struct {
	Verb        string // get, list, watch, create, …; for paths the method in lower case
	Group       string
	Version     string
	Resource    string // plural: "pods"
	Subresource string
	Namespace   string // "" for all, and for what has none
	Name        string
	Path        string // "/metrics"
}

// Decision is an allow.
type Decision struct {
	// Warning is what the answer has to warn of, "" if nothing: rights could not be
	// reviewed for some time, and still hold.
	Warning string
}

// levels are the questions whose yes answers a: for the whole cluster, for the
// namespace, for the name. The last one is a itself.
func (a Attributes) levels() []Attributes {
	if a.Resource == "" {
		return []Attributes{{Verb: a.Verb, Path: a.Path}}
	}
	a.Path = ""
	levels := make([]Attributes, 0, 3)
	all := a
	all.Namespace, all.Name = "", ""
	levels = append(levels, all)
	if a.Namespace != "" {
		all.Namespace = a.Namespace
		levels = append(levels, all)
	}
	if a.Name != "" {
		levels = append(levels, a)
	}
	return levels
}

// String is for logs: "get pods/log in a, named b".
func (a Attributes) String() string {
	if a.Resource == "" {
		return a.Verb + " " + cmp.Or(a.Path, "/")
	}
	text := a.Verb + " " + a.Resource
	if a.Subresource != "" {
		text += "/" + a.Subresource
	}
	if a.Group != "" {
		text += " of " + a.Group
	}
	if a.Namespace != "" {
		text += " in " + a.Namespace
	}
	if a.Name != "" {
		text += ", named " + a.Name
	}
	return text
}
