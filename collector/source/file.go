package source

import (
	"os"
	"sync"
	"time"
)

// A file is looked at this often, and read again after that time even if it looks the
// same.
const (
	lookEvery = 10 * time.Second
	readEvery = time.Minute
)

// file is a small file that others replace: a token, a certificate. Without a path
// its content is what was given.
type file struct {
	path string

	mu       sync.Mutex
	content  []byte
	modified time.Time
	lookedAt time.Time
	readAt   time.Time
}

func newFile(path string, content []byte) *file {
	if path != "" {
		content = nil
	}
	return &file{path: path, content: content}
}

// read returns the content, which is at most readEvery old. If the file has become
// unreadable it returns what it had.
func (f *file) read() ([]byte, error) {
	if f.path == "" {
		return f.content, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.content != nil && now.Sub(f.lookedAt) < lookEvery {
		return f.content, nil
	}
	f.lookedAt = now
	info, err := os.Stat(f.path)
	if err == nil && f.content != nil && info.ModTime().Equal(f.modified) && now.Sub(f.readAt) < readEvery {
		return f.content, nil
	}
	if err == nil {
		var content []byte
		if content, err = os.ReadFile(f.path); err == nil {
			f.content, f.modified, f.readAt = content, info.ModTime(), now
		}
	}
	if f.content == nil && err != nil {
		return nil, err
	}
	return f.content, nil
}

// stale makes the next read look at the file.
func (f *file) stale() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookedAt, f.readAt = time.Time{}, time.Time{}
}
