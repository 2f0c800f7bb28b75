// Package auth decides who may read what: it says who sent a request
// (Authenticate) and whether that user may have what is asked for (Authorize).
// What a request's path means for either is the caller's to know.
//
// There are three modes. "none" lets everyone read and is for loopback addresses.
// "token" knows the bearer tokens of a file, each with the namespaces and
// resources that it may read. "kubernetes" asks the cluster's API server: bearer
// tokens by TokenReview, client certificates against the cluster's CA, and rights
// by SubjectAccessReview on the resource itself.
//
// What the API server allowed is believed for a short time without asking again,
// and, while it cannot be asked, for a longer, stated one. Nobody is refused
// because it could not be asked: that is 503, never 403.
package auth
