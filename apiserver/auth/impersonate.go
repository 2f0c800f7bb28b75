package auth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const serviceAccountPrefix = "system:serviceaccount:"

// impersonates says whether the caller asks to be taken for someone else.
func impersonates(header http.Header) bool {
	for key := range header {
		if strings.HasPrefix(key, "Impersonate-") {
			return true
		}
	}
	return false
}

// impersonate returns whom the header asks to be taken for, as kubectl --as does,
// if caller has the right to; caller itself if it asks nothing.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
func (c *cluster) impersonate(ctx context.Context, caller User, header http.Header) (User, error) {
	if !impersonates(header) {
		return caller, nil
	}
	wanted := User{
		Name: header.Get(authenticationv1.ImpersonateUserHeader), UID: header.Get(authenticationv1.ImpersonateUIDHeader),
		Groups: slices.Clone(header.Values(authenticationv1.ImpersonateGroupHeader)),
		Token:  caller.Token, Certificate: caller.Certificate,
	}
	if wanted.Name == "" {
		return User{}, apierrors.NewBadRequest("to impersonate groups, a UID or extras name the user too, in the header Impersonate-User")
	}
	wanted.Extra = impersonatedExtra(header)
	for _, a := range impersonationRights(wanted) {
		if _, err := c.authorize(ctx, caller, a); err != nil {
			return User{}, err
		}
	}
	if rest, ok := strings.CutPrefix(wanted.Name, serviceAccountPrefix); ok && len(wanted.Groups) == 0 {
		namespace, _, _ := strings.Cut(rest, ":")
		wanted.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace}
	}
	wanted.held = caller.held
	if wanted.Name == "system:anonymous" {
		if !slices.Contains(wanted.Groups, "system:unauthenticated") {
			wanted.Groups = append(wanted.Groups, "system:unauthenticated")
		}
		return wanted, nil
	}
	return authenticated(wanted), nil
}

// impersonatedExtra reads the headers Impersonate-Extra-KEY, where KEY may be
// escaped as in a URL.
func impersonatedExtra(header http.Header) map[string][]string {
	var extra map[string][]string
	for name, values := range header {
		key, ok := strings.CutPrefix(name, authenticationv1.ImpersonateUserExtraHeaderPrefix)
		if !ok {
			continue
		}
		key = strings.ToLower(key)
		if plain, err := url.PathUnescape(key); err == nil {
			key = plain
		}
		if extra == nil {
			extra = map[string][]string{}
		}
		extra[key] = append(extra[key], values...)
	}
	return extra
}

// impersonationRights are what it takes to be taken for wanted.
func impersonationRights(wanted User) (rights []Attributes) {
	add := func(a Attributes) {
		a.Verb, a.Version = "impersonate", "v1"
		rights = append(rights, a)
	}
	namespace, name, ok := strings.Cut(strings.TrimPrefix(wanted.Name, serviceAccountPrefix), ":")
	if ok && strings.HasPrefix(wanted.Name, serviceAccountPrefix) {
		add(Attributes{Resource: "serviceaccounts", Namespace: namespace, Name: name})
	} else {
		add(Attributes{Resource: "users", Name: wanted.Name})
	}
	for _, group := range wanted.Groups {
		add(Attributes{Resource: "groups", Name: group})
	}
	const group = "authentication.k8s.io"
	if wanted.UID != "" {
		add(Attributes{Group: group, Resource: "uids", Name: wanted.UID})
	}
	for key, values := range wanted.Extra {
		for _, value := range values {
			add(Attributes{Group: group, Resource: "userextras", Subresource: key, Name: value})
		}
	}
	return rights
}
