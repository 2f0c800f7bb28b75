// Package field reads single fields of Kubernetes objects out of their JSON, to
// select, order, cut and group lists by them:
//
//   - Selector is Kubernetes' own field selector with the labels, values and
//     errors that kube-apiserver has for the resource.
//   - Path is any JSONPath, as RFC 9535 or as kubectl writes it. PathSelector,
//     Order, Projection and Grouping are made of paths.
//
// Everything is a pure function of bytes and safe for concurrent use. A body is an
// object as the API server encodes it: valid JSON with unique member names. No body
// is decoded as a whole; only a JSONPath with a filter decodes, and only the values
// that it tests.
//
// Errors about what a client sent are metav1 statuses with code 400.
package field
