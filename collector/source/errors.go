package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// ErrNothing comes from Target if the source has nothing of the node, such as a
// dcgm source of a node that has no GPU. The node is to be left out, silently.
var ErrNothing = errors.New("the source has nothing of this node")

var errTooLarge = errors.New("the answer is too large")

// Reasons why a node has no metrics, as in metrics.NodeStatus.
const (
	Timeout      = "timeout"      // no whole answer in time
	Unauthorized = "unauthorized" // 401, or no token could be read
	Forbidden    = "forbidden"    // 403
	Status       = "status"       // any other answer that is not 200
	Refused      = "refused"      // no connection, or one that was broken off
	Untrusted    = "untrusted"    // a certificate is not good, or one side speaks no TLS
	Unreadable   = "unreadable"   // an answer that is none, or another node's
	NotReady     = "not ready"    // its condition Ready is not True
	NoAddress    = "no address"   // none of the types that may be used
	Canceled     = "canceled"     // the caller gave up
)

// Error is why a node has no metrics.
type Error struct {
	reason string
	err    error
}

// Error says what happened and what to do.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Reason is one of the reasons above.
func (e *Error) Reason() string { return e.reason }

// failed is the error of a question that was not answered.
func (q question) failed(ctx context.Context, err error) *Error {
	reason, advice := whyFailed(ctx, err)
	return &Error{reason, fmt.Errorf("ask node %s: %w%s", q.node, err, advice)}
}

// whyFailed says why there was no answer, and what to do.
func whyFailed(ctx context.Context, err error) (reason, advice string) {
	var (
		network     net.Error
		operation   *net.OpError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return Canceled, ""
	case errors.As(err, &certificate):
		return Untrusted, ": give the option kubeletCAFile, or kubeletServerName if the certificate is for another name, or kubeletInsecureTLS=true if nobody can stand between us and the node"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return Untrusted, ": what listens there speaks no TLS: is the port a kubelet's?"
	case errors.As(err, &operation) && operation.Op == "remote error": // as crypto/tls calls an alert
		return Untrusted, ": the kubelet refuses our certificate"
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return Timeout, ": the node is too slow, or a firewall drops what we send"
	case errors.Is(err, errTooLarge), errors.Is(err, io.ErrUnexpectedEOF):
		return Unreadable, ""
	case errors.As(err, &operation), errors.Is(err, io.EOF):
		return Refused, ": is the kubelet running, and is its port reachable from here?"
	}
	return Unreadable, ""
}

// refused is the error of an answer that is not 200.
func (q question) refused(status int, token string, body []byte) *Error {
	answer := fmt.Errorf("%s on node %s answers %d %s%s", q.url, q.node, status, http.StatusText(status), says(body))
	switch {
	case status == http.StatusUnauthorized && token == "":
		return &Error{Unauthorized, fmt.Errorf("%w: we have no token: run the collector with a service account, or give a kubeconfig by auth", answer)}
	case status == http.StatusUnauthorized:
		return &Error{Unauthorized, fmt.Errorf("%w: the kubelet does not take our token: it must be one of this cluster, and the kubelet must ask TokenReview (authentication.webhook.enabled)", answer)}
	case status == http.StatusForbidden && q.rule != "":
		return &Error{Forbidden, fmt.Errorf(`%w: add to the collector's ClusterRole {apiGroups: [""], resources: [%s], verbs: [get]}`, answer, q.rule)}
	case status == http.StatusForbidden:
		return &Error{Forbidden, answer}
	case status == http.StatusNotFound:
		return &Error{Status, fmt.Errorf("%w: is the port a kubelet's?", answer)}
	}
	return &Error{Status, answer}
}

// says is the first line of what an answer says, quoted.
func says(body []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
	if len(line) == 0 {
		return ""
	}
	const most = 300
	text := strings.ToValidUTF8(string(line[:min(len(line), most)]), "?")
	return fmt.Sprintf(" (it says %q)", text)
}
