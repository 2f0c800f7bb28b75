package client

import (
	"fmt"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// The headers by which KRM says how fresh an answer is.
const (
	headerStreamed   = "Krm-Resource-Version"
	headerStreamedAt = "Krm-Streamed-At"
	headerVerified   = "Krm-Verified-Resource-Version"
	headerVerifiedAt = "Krm-Verified-At"
)

// Freshness says how far an answer may be trusted: a complete list taken from
// the API server at VerifiedAt agreed with it, and from there on every change
// up to StreamedAt is in it. The versions are the resource's, not an object's;
// compare them only with versions of the same resource. Times are in UTC by
// KRM's clock. What is unknown is "" or the zero time.
type Freshness struct {
	StreamedResourceVersion string    `json:"streamedResourceVersion,omitempty"`
	StreamedAt              time.Time `json:"streamedAt,omitzero"`
	VerifiedResourceVersion string    `json:"verifiedResourceVersion,omitempty"`
	VerifiedAt              time.Time `json:"verifiedAt,omitzero"`
	// Warnings are what the server wants a person to read, such as that the answer
	// is staler than it should be.
	Warnings []string `json:"-"`
}

// parseFreshness reads an answer's headers. A server that sends none of them is
// not KRM, or answers something that has no freshness: all fields are zero then.
func parseFreshness(header http.Header) (Freshness, error) {
	streamedAt, err := parseTime(header, headerStreamedAt)
	if err != nil {
		return Freshness{}, err
	}
	verifiedAt, err := parseTime(header, headerVerifiedAt)
	if err != nil {
		return Freshness{}, err
	}
	return Freshness{
		StreamedResourceVersion: header.Get(headerStreamed), StreamedAt: streamedAt,
		VerifiedResourceVersion: header.Get(headerVerified), VerifiedAt: verifiedAt,
		Warnings: parseWarnings(header),
	}, nil
}

func parseTime(header http.Header, name string) (time.Time, error) {
	text := header.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("header %s: %q: want a time such as 2006-01-02T15:04:05.000Z", name, text)
	}
	return at.UTC(), nil
}

// parseWarnings leaves out what is no warning as RFC 7234 defines it.
func parseWarnings(header http.Header) []string {
	parsed, _ := utilnet.ParseWarningHeaders(header["Warning"])
	var texts []string
	for _, warning := range parsed {
		texts = append(texts, warning.Text)
	}
	return texts
}
