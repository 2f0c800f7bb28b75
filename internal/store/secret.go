package store

import (
	"context"
	"crypto/rand"
	"fmt"
)

const secretBytes = 32

// Secret returns the random 32 bytes that all processes of this Redis and prefix
// share under name, such as "continue". Who asks first makes them; they stay until
// Redis is emptied. They are as safe as Redis is: sign with them what may not be
// made up by clients, and nothing that outlives Redis.
func (s *Store) Secret(ctx context.Context, name string) (secret []byte, err error) {
	key := s.options.Prefix + ":{secret}:secret:" + name
	fresh := make([]byte, secretBytes)
	_, _ = rand.Read(fresh) // never fails: crypto/rand ends the program instead
	err = s.call(ctx, "read secret", name, callTimeout, func(ctx context.Context) error {
		if err := s.client.SetNX(ctx, key, fresh, 0).Err(); err != nil {
			return err
		}
		secret, err = s.client.Get(ctx, key).Bytes()
		return err
	})
	if err == nil && len(secret) != secretBytes {
		return nil, fmt.Errorf("read secret %s: %d bytes instead of %d: delete %s", name, len(secret), secretBytes, key)
	}
	if err != nil {
		return nil, err
	}
	return secret, nil
}
