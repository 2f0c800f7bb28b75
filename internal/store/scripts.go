package store

import (
	"context"
	_ "embed" // the scripts are files of their own
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var (
	//go:embed lua/acquire.lua
	acquireLua string
	//go:embed lua/release.lua
	releaseLua string
	//go:embed lua/beat.lua
	beatLua string
	//go:embed lua/append.lua
	appendLua string
	//go:embed lua/trim.lua
	trimLua string
	//go:embed lua/sizes.lua
	sizesLua string
	//go:embed lua/publish.lua
	publishLua string
	//go:embed lua/put.lua
	putLua string
	//go:embed lua/want.lua
	wantLua string
	//go:embed lua/wants.lua
	wantsLua string
	//go:embed lua/bodies.lua
	bodiesLua string

	acquireScript = redis.NewScript(acquireLua)
	releaseScript = redis.NewScript(releaseLua)
	beatScript    = redis.NewScript(beatLua)
	appendScript  = redis.NewScript(appendLua)
	trimScript    = redis.NewScript(trimLua)
	sizesScript   = redis.NewScript(sizesLua)
	publishScript = redis.NewScript(publishLua)
	putScript     = redis.NewScript(putLua)
	wantScript    = redis.NewScript(wantLua)
	wantsScript   = redis.NewScript(wantsLua)
	bodiesScript  = redis.NewScript(bodiesLua)
)

// run runs a script that answers with a list whose first element is a status,
// and returns what follows "ok" or "held". The other statuses become errors.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) (status string, rest []any, err error) {
	answer, err := script.Run(ctx, s.client, keys, args...).Slice()
	if err != nil {
		return "", nil, err
	}
	if len(answer) == 0 {
		return "", nil, fmt.Errorf("the script answered nothing")
	}
	status, _ = answer[0].(string)
	switch rest = answer[1:]; status {
	case "ok", "held":
		return status, rest, nil
	case "fenced":
		return "", nil, object.ErrFenced
	case "lost":
		return "", nil, fmt.Errorf("%w: found %v", object.ErrLost, rest)
	}
	return "", nil, fmt.Errorf("the script answered %q", status)
}
