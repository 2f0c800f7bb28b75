package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"time"
)

// reloadEvery is how often files are looked at. They are read, and not only their
// times: Kubernetes exchanges them by moving a symbolic link far above.
const reloadEvery = 5 * time.Second

// watched are files that are read again when they change.
type watched struct {
	paths []string
	last  [sha256.Size]byte
	fault string // why they could not be read last
}

// read returns the contents of all files, and whether they differ from what it
// returned last. It fails with one and the same fault only once in a row.
func (w *watched) read() (contents [][]byte, changed bool, err error) {
	for _, path := range w.paths {
		text, err := os.ReadFile(path)
		if err != nil && err.Error() == w.fault {
			return nil, false, nil
		}
		if err != nil {
			w.fault = err.Error()
			return nil, false, err
		}
		contents = append(contents, text)
	}
	w.fault = ""
	sum := sha256.Sum256(bytes.Join(contents, []byte{0}))
	changed = sum != w.last
	w.last = sum
	return contents, changed, nil
}

// every calls do now and then until ctx ends.
func every(ctx context.Context, pause time.Duration, do func()) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			do()
		}
	}
}
