package process

import (
	"net"
	"path/filepath"
	"strconv"
)

// Krm says how krm's processes are started.
type Krm struct {
	Binary string
	Redis  string // host:port
	Logs   string // the folder of their logs
}

// Spec is the role's process ("streamer", …), with its HTTP server on port.
func (k Krm) Spec(role string, port int, args ...string) Spec {
	return Spec{
		Name: role, Path: k.Binary, Log: filepath.Join(k.Logs, role+".log"),
		Args: append([]string{role, "--redis-addr=" + k.Redis, "--listen=" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, args...),
	}
}
