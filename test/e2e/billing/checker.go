package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"sync"
)

// checker counts figures, and remembers those that are wrong.
type checker struct {
	mu      sync.Mutex
	figures int
	wrong   []string
}

func (c *checker) count(right bool, format string, values ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures++
	if !right {
		c.wrong = append(c.wrong, fmt.Sprintf(format, values...))
	}
}

// is checks that got is want.
func (c *checker) is(what string, got, want any) {
	c.count(got == want, "%s: %v, want %v", what, got, want)
}

// whole checks an integer, to the last digit.
func (c *checker) whole(what string, got json.Number, want int64) {
	c.count(got.String() == fmt.Sprint(want), "%s: %s, want %d", what, got, want)
}

// nearest checks that got is the float that is nearest to want.
func (c *checker) nearest(what string, got json.Number, want *big.Rat) {
	number, err := got.Float64()
	nearest, _ := want.Float64()
	c.count(err == nil && number == nearest, "%s: %s, want %v", what, got, nearest)
}

// within checks that got differs from want by a share of at most that.
func (c *checker) within(what string, got json.Number, want, share float64) {
	number, err := got.Float64()
	c.count(err == nil && math.Abs(number-want) <= share*math.Abs(want), "%s: %s, want %v within %v %%", what, got, want, share*100)
}

// ok checks that something went well.
func (c *checker) ok(what string, err error) {
	c.count(err == nil, "%s: %v", what, err)
}

// take adds what another checker found.
func (c *checker) take(other *checker) {
	other.mu.Lock()
	defer other.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures += other.figures
	c.wrong = append(c.wrong, other.wrong...)
}
