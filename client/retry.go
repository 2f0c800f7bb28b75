package client

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	firstWait     = 100 * time.Millisecond
	longestWait   = 3 * time.Second
	longestAskFor = time.Minute // the longest Retry-After that is waited for
)

// retryable says whether the same request may succeed later.
func retryable(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// backoff is how long to wait after try, counted from 0: it doubles from 100 ms
// to longest, and between half and the whole of that is taken at random.
func backoff(try int, longest time.Duration) time.Duration {
	whole := longest
	if try < 16 {
		whole = min(longest, firstWait<<try)
	}
	return whole/2 + rand.N(whole/2+1)
}

// retryAfter is how long the server asks to wait, or 0. Both forms of the header
// are read: seconds, and a date, which counts from the server's own Date.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, until.Sub(now))
}

// wait returns after the time that the try's failure calls for. It returns false
// if that is not worthwhile: it is too long, or ctx ends before it or meanwhile.
func wait(ctx context.Context, try int, asked time.Duration) bool {
	if asked > longestAskFor {
		return false
	}
	pause := max(backoff(try, longestWait), asked)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
		return false
	}
	return sleep(ctx, pause)
}

// sleep returns false if ctx ends before pause is over.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
