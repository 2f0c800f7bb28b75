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
	"sync/atomic"
	"time"

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

// signer makes and reads tokens, and signs what else all replicas have to agree on.
type signer struct {
	secret func(context.Context) ([]byte, error)
	key    atomic.Pointer[signingKey]
}

type signingKey struct {
	bytes []byte
	at    time.Time // when it was read
}

// randomSecret is for servers that have no other replicas.
func randomSecret() func(context.Context) ([]byte, error) {
	once := sync.OnceValues(func() ([]byte, error) {
		key := make([]byte, sha256.Size)
		_, err := rand.Read(key)
		return key, err
	})
	return func(context.Context) ([]byte, error) { return once() }
}

// load returns the key, read no longer ago than age if that is not 0.
func (s *signer) load(ctx context.Context, age time.Duration) ([]byte, error) {
	if key := s.key.Load(); key != nil && (age == 0 || time.Since(key.at) < age) {
		return key.bytes, nil
	}
	fresh, err := s.secret(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the key of continue tokens: %w", err)
	}
	s.key.Store(&signingKey{fresh, time.Now()})
	return fresh, nil
}

func sign(key, payload []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(payload)
	return mac.Sum(nil)[:signature]
}

// signature is how many bytes of a token sign it.
const signature = 16

func (s *signer) encode(ctx context.Context, t token) (string, error) {
	payload, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	key, err := s.load(ctx, 0)
	if err != nil {
		return "", Unavailable("a list cannot be cut into pages at the moment: Redis does not answer; ask without limit, or again")
	}
	return base64.RawURLEncoding.EncodeToString(append(sign(key, payload), payload...)), nil
}

var errToken = errors.New("it is not a token of this server")

// decode returns what the token says, if it is of the list that query names.
func (s *signer) decode(ctx context.Context, text string, query uint64) (t token, err error) {
	bad := func(err error) error { return BadRequest("invalid continue token: continue key is not valid: %v", err) }
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil && len(raw) < signature {
		err = errToken
	}
	if err == nil {
		err = json.Unmarshal(raw[signature:], &t)
	}
	if err != nil {
		return token{}, bad(err)
	}
	// Redis may have got another key since ours was read.
	for _, age := range []time.Duration{0, 5 * time.Second} {
		key, err := s.load(ctx, age)
		if err != nil {
			return token{}, Unavailable("the list cannot be continued at the moment: Redis does not answer")
		}
		if hmac.Equal(sign(key, raw[signature:]), raw[:signature]) {
			if t.Query != query {
				return token{}, expired("The provided continue parameter belongs to another list. You must start a new list without the continue parameter.")
			}
			return t, nil
		}
	}
	return token{}, tooOldToken()
}

// tooOldToken is for what may have been a token once.
func tooOldToken() error {
	return expired("The provided continue parameter is too old to display a consistent list result. " +
		"You must start a new list without the continue parameter.")
}

// expired says that a place in the past is not kept any more.
func expired(format string, args ...any) error {
	return failure(http.StatusGone, metav1.StatusReasonExpired, format, args...)
}
