package object

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Version is a metadata.resourceVersion. Versions are ordered within one
// resource of one cluster (KEP-5504). The zero Version, "", is nothing yet and
// lies below every other.
type Version string

// ParseVersion reads what an API server sent. It refuses "", "0" and whatever is
// not a decimal integer: servers whose versions have no order cannot be followed.
func ParseVersion(text string) (Version, error) {
	if _, err := resourceversion.CompareResourceVersion(text, "1"); err != nil {
		return "", fmt.Errorf("resourceVersion %q: want a positive decimal integer", text)
	}
	return Version(text), nil
}

// Compare is negative if v is older than other, 0 if they are the same, and
// positive if v is newer. Both must be "" or come from ParseVersion.
func (v Version) Compare(other Version) int {
	if v == "" || other == "" {
		return strings.Compare(string(v), string(other))
	}
	order, err := resourceversion.CompareResourceVersion(string(v), string(other))
	if err != nil {
		panic(fmt.Sprintf("BUG: compare %q with %q: %v", string(v), string(other), err))
	}
	return order
}

// Newer says whether v is newer than other.
func (v Version) Newer(other Version) bool { return v.Compare(other) > 0 }

// Newest returns the newer of v and other.
func (v Version) Newest(other Version) Version {
	if other.Newer(v) {
		return other
	}
	return v
}
