package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// ErrAlive comes when a resource that should be forgotten is still being watched.
var ErrAlive = errors.New("still being watched")

const (
	alive  = 15 * time.Second // a younger heartbeat means that the process runs
	buried = 10 * time.Minute // an older heartbeat is dropped when its role has a younger one
)

// registration is one field of the registry: a resource and one process's status.
type registration struct {
	Resource object.Resource `json:"resource"`
	Status   object.Status   `json:"status"`
}

func (s *Store) registry() string { return s.options.Prefix + ":resources" }

func registryField(resource object.Resource, status object.Status) string {
	return resource.String() + " " + status.Role + " " + status.Instance
}

// Resources returns what is registered, sorted by group and name. Of each role
// it has every status of the last ten minutes, or the last one if all are older.
func (s *Store) Resources(ctx context.Context) ([]object.Registered, error) {
	all, _, err := s.registrations(ctx)
	if err != nil {
		return nil, err
	}
	var resources []object.Registered
	for _, r := range all {
		last := len(resources) - 1
		if last < 0 || resources[last].Resource.Compare(r.Resource) != 0 {
			resources = append(resources, object.Registered{Resource: r.Resource})
			last++
		}
		if resources[last].Resource.Kind == "" {
			resources[last].Resource = r.Resource // of a process that has asked discovery
		}
		resources[last].Statuses = append(resources[last].Statuses, r.Status)
	}
	return resources, nil
}

// registrations returns the registry sorted by resource, role and instance, and
// the fields of those that are dead and superseded.
func (s *Store) registrations(ctx context.Context) (kept []registration, dead []string, err error) {
	var fields map[string]string
	err = s.call(ctx, "read registry", s.registry(), callTimeout, func(ctx context.Context) error {
		fields, err = s.client.HGetAll(ctx, s.registry()).Result()
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	newest := map[string]time.Time{} // by resource and role
	all := map[string]registration{}
	for field, text := range fields {
		var r registration
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, nil, fmt.Errorf("read registry field %q: %w", field, err)
		}
		all[field] = r
		role := r.Resource.String() + " " + r.Status.Role
		if r.Status.At.After(newest[role]) {
			newest[role] = r.Status.At
		}
	}
	for field, r := range all {
		if newest[r.Resource.String()+" "+r.Status.Role].Sub(r.Status.At) > buried {
			dead = append(dead, field)
			continue
		}
		kept = append(kept, r)
	}
	slices.SortFunc(kept, func(a, b registration) int {
		return cmp.Or(a.Resource.Compare(b.Resource), strings.Compare(a.Status.Role, b.Status.Role),
			strings.Compare(a.Status.Instance, b.Status.Instance))
	})
	return kept, dead, nil
}

// report writes one heartbeat.
func (s *Store) report(ctx context.Context, resource object.Resource, status object.Status) error {
	text, err := json.Marshal(registration{resource, status})
	if err != nil {
		return fmt.Errorf("encode status of %v: %w", resource, err)
	}
	return s.call(ctx, "report", resource.String(), callTimeout, func(ctx context.Context) error {
		return s.client.HSet(ctx, s.registry(), registryField(resource, status), text).Err()
	})
}

// bury drops the heartbeats of processes that have been replaced for long.
func (s *Store) bury(ctx context.Context) error {
	_, dead, err := s.registrations(ctx)
	if err != nil || len(dead) == 0 {
		return err
	}
	return s.call(ctx, "bury", s.registry(), callTimeout, func(ctx context.Context) error {
		return s.client.HDel(ctx, s.registry(), dead...).Err()
	})
}

// Ask leaves a wish for whoever it is meant for. The same wish twice is one.
func (s *Store) Ask(ctx context.Context, resource object.Resource, ask object.Ask) error {
	k := newKeys(s.options.Prefix, resource)
	return s.call(ctx, "ask", resource.String(), callTimeout, func(ctx context.Context) error {
		return s.client.HSet(ctx, k.asks, string(ask), strconv.FormatInt(time.Now().UnixMilli(), 10)).Err()
	})
}

// Forget deletes every key of resource. It returns ErrAlive while a process
// watches it: while one holds a lease or has a heartbeat younger than 15 s.
func (s *Store) Forget(ctx context.Context, resource object.Resource) error {
	registered, dead, err := s.registrations(ctx)
	if err != nil {
		return err
	}
	fields := slices.DeleteFunc(dead, func(field string) bool {
		return !strings.HasPrefix(field, resource.String()+" ")
	})
	for _, r := range registered {
		if r.Resource.String() != resource.String() {
			continue
		}
		if age := time.Since(r.Status.At); age < alive {
			return fmt.Errorf("forget %v: %w by %s %s, seen %v ago", resource, ErrAlive, r.Status.Role, r.Status.Instance, age.Round(time.Second))
		}
		fields = append(fields, registryField(r.Resource, r.Status))
	}
	return s.call(ctx, "forget", resource.String(), scanTimeout, func(ctx context.Context) error {
		if err := s.unlink(ctx, resource); err != nil || len(fields) == 0 {
			return err
		}
		return s.client.HDel(ctx, s.registry(), fields...).Err()
	})
}

func (s *Store) unlink(ctx context.Context, resource object.Resource) error {
	k := newKeys(s.options.Prefix, resource)
	for _, role := range roles {
		holder, err := s.client.Get(ctx, k.lease(role)).Result()
		if err == nil {
			return fmt.Errorf("%w: the %s's lease is held by %s", ErrAlive, role, holder)
		}
		if !errors.Is(err, redis.Nil) {
			return err
		}
	}
	names := k.all()
	ids, err := s.client.SMembers(ctx, k.dicts).Result()
	if err != nil {
		return err
	}
	for _, id := range ids {
		names = append(names, k.base+"dict:"+id)
	}
	return s.client.Unlink(ctx, names...).Err()
}
