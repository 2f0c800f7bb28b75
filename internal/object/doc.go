// Package object has the nouns that all of KRM speaks: resources, keys, versions,
// records, and what the processes tell one another through Redis. It does no I/O.
package object
