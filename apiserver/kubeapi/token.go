package kubeapi

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// token is what a continue parameter says: go on behind Path in the state at
// Version. It is signed, so that clients cannot make one up, with a key that all
// replicas share, so that any of them can go on.
type token struct {
	Lineage string         `json:"l"`
	Version object.Version `json:"v"`
	Path    string         `json:"p"`
	Query   uint64         `json:"q"` // which list it belongs to
}

// signer makes and reads tokens.
type signer struct {
	secret func(context.Context) ([]byte, error)

	mu  sync.Mutex
	key []byte
}

// randomSecret is for servers that have no other replicas.
func randomSecret(context.Context) ([]byte, error) {
	key := make([]byte, sha256.Size)
	_, err := rand.Read(key)
	return key, err
}

func (s *signer) sum(ctx context.Context, payload []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil {
		key, err := s.secret(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the key of continue tokens: %w", err)
		}
		s.key = key
	}
	mac := hmac.New(sha256.New, s.key)
	mac.Write(payload)
	return mac.Sum(nil)[:16], nil
}

func (s *signer) encode(ctx context.Context, t token) (string, error) {
	payload, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	sum, err := s.sum(ctx, payload)
	if err != nil {
		return "", Unavailable("a list cannot be cut into pages at the moment: Redis does not answer; ask without limit, or again")
	}
	return base64.RawURLEncoding.EncodeToString(append(sum, payload...)), nil
}

var errToken = errors.New("it is not a token of this server")

// decode returns what the token says, if it is of the list that query names.
func (s *signer) decode(ctx context.Context, text string, query uint64) (t token, err error) {
	bad := func(err error) error { return BadRequest("invalid continue token: continue key is not valid: %v", err) }
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil && len(raw) < 16 {
		err = errToken
	}
	if err != nil {
		return t, bad(err)
	}
	sum, err := s.sum(ctx, raw[16:])
	if err != nil {
		return t, Unavailable("the list cannot be continued at the moment: Redis does not answer")
	}
	if !hmac.Equal(sum, raw[:16]) {
		return t, bad(errToken)
	}
	if err := json.Unmarshal(raw[16:], &t); err != nil {
		return t, bad(err)
	}
	if t.Query != query {
		return t, expired("The provided continue parameter belongs to another list. You must start a new list without the continue parameter.")
	}
	return t, nil
}

// expired says that a place in the past is not kept any more.
func expired(format string, args ...any) error {
	return failure(http.StatusGone, metav1.StatusReasonExpired, format, args...)
}
