package logfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
)

// lockName is the file by which a process holds its folder.
const lockName = ".krm.lock"

// claim makes the folder, and holds it for this process until the answer is closed.
func claim(dir string, log *slog.Logger) (io.Closer, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, explain(err, dir, dir)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, explain(err, dir, path)
	}
	err = lock(f)
	switch {
	case errors.Is(err, errHeld):
		holder, _ := io.ReadAll(io.LimitReader(f, 64)) // it only helps to find the other one
		return nil, errors.Join(fmt.Errorf("--log-dir=%s: process %s writes its log there: give every process a folder of its own, such as %s",
			dir, strings.TrimSpace(string(holder)), filepath.Join(dir, "collector")), f.Close())
	case err != nil:
		log.Warn("the log folder cannot be locked: see that no other process writes there", "dir", dir, "err", err)
	}
	if err := errors.Join(f.Truncate(0), write(f, fmt.Sprintln(os.Getpid()))); err != nil {
		return nil, errors.Join(explain(err, dir, path), f.Close())
	}
	return f, nil
}

func write(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// explain adds to err, which is about path in the folder dir, or about dir itself, how
// to mend it.
func explain(err error, dir, path string) error {
	if err == nil {
		return nil
	}
	var fault *fs.PathError
	errors.As(err, &fault)
	if _, missing := os.Lstat(path); missing != nil {
		path = dir // which does not let it be made
	}
	mend := ""
	switch owner := fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()); {
	case errors.Is(err, fs.ErrPermission) && path != dir:
		mend = fmt.Sprintf(": as root, run: chown %s %s", owner, quote(path))
	case errors.Is(err, fs.ErrPermission):
		mend = fmt.Sprintf(": as root, run: mkdir -p %s && chown %s %s", quote(dir), owner, quote(dir))
	case errors.Is(err, syscall.ENOTDIR) && fault != nil:
		mend = fmt.Sprintf(": a file stands where the folder should be: choose another folder, or run: mv %s %s", quote(fault.Path), quote(fault.Path+".old"))
	case errors.Is(err, syscall.EISDIR):
		mend = fmt.Sprintf(": a folder stands where the file should be: choose another folder, or run: mv %s %s", quote(path), quote(path+".old"))
	case errors.Is(err, syscall.EROFS):
		mend = ": its file system is read-only: choose a folder on a volume that can be written"
	case errors.Is(err, syscall.ENOSPC):
		mend = ": free some space there, or choose another folder"
	}
	return fmt.Errorf("--log-dir=%s: %w%s", dir, err, mend)
}

// quote writes a path as a shell takes it.
func quote(path string) string {
	special := func(r rune) bool {
		return r != '/' && r != '.' && r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	if path != "" && strings.IndexFunc(path, special) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
