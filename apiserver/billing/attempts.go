package billing

import (
	"net/netip"
	"sync"
	"time"
)

// maxAddresses bounds the memory of attempts; those that do not fit share one entry.
const maxAddresses = 10_000

// attempts counts refusals by address: each address has limit of them, and gets one
// back every so often.
type attempts struct {
	limit int
	every time.Duration

	mu    sync.Mutex
	until map[netip.Addr]time.Time // when an address has all of them again
	swept time.Time                // when it was last looked through for what can be forgotten
}

func newAttempts(limit int, every time.Duration) *attempts {
	return &attempts{limit: limit, every: every, until: map[netip.Addr]time.Time{}}
}

// wait is how long address must wait before it may try; 0 if it may.
func (a *attempts) wait(address netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, known := a.until[address]
	if !known && len(a.until) >= maxAddresses {
		until = a.until[netip.Addr{}]
	}
	if !until.After(now) { // the zero time is too far away to subtract
		return 0
	}
	return until.Sub(now) - time.Duration(a.limit-1)*a.every
}

// refused takes one attempt from address.
func (a *attempts) refused(address netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.until[address]; !known && len(a.until) >= maxAddresses {
		if now.Sub(a.swept) >= a.every { // each look takes a while
			a.forget(now)
			a.swept = now
		}
		if len(a.until) >= maxAddresses {
			address = netip.Addr{}
		}
	}
	until := a.until[address]
	if until.Before(now) {
		until = now
	}
	a.until[address] = until.Add(a.every)
}

// forget drops the addresses that have all their attempts again.
func (a *attempts) forget(now time.Time) {
	for address, until := range a.until {
		if !until.After(now) {
			delete(a.until, address)
		}
	}
}

// addressOf is who asks: an address, of IPv6 the network of 64 bits that one customer
// has at least.
func addressOf(remote string) netip.Addr {
	full, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	address := full.Addr().Unmap().WithZone("")
	if address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.Masked().Addr()
		}
	}
	return address
}
