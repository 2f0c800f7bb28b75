//go:build unix

package logfile

import (
	"errors"
	"os"
	"syscall"
)

// errHeld comes when another process holds the lock.
var errHeld = errors.New("the lock is held")

// lock holds f until it is closed, or the process ends, however that happens.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errHeld
	}
	return err
}
