package store

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
)

func TestMiniredis(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	testContract(t, &server{options: Options{Addrs: []string{mini.Addr()}}, pass: mini.FastForward})
}
