package object

import "github.com/cespare/xxhash/v2"

// Hash is the fingerprint by which full verification compares bodies: XXH64 of
// the JSON as stored. It finds corruption, it does not resist an attacker.
func Hash(body []byte) uint64 { return xxhash.Sum64(body) }
