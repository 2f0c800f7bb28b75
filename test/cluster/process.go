package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// process is one running component.
type process struct {
	name     string
	cmd      *exec.Cmd
	done     chan struct{} // closed once it has ended
	err      error         // how it ended; read it after done
	stopping atomic.Bool   // its end was asked for
}

// startProcess runs this program again as the component name, with its output
// appended to logPath. The kernel kills the component when this process ends,
// however that happens.
func startProcess(name string, args []string, logPath, workDir string) (*process, error) {
	self, err := thisProgram()
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer out.Close() // the component has its own copy
	cmd := exec.Command(self, append([]string{name}, args...)...)
	cmd.Dir = workDir
	cmd.Stdout, cmd.Stderr = out, out
	// HOME and KUBECONFIG must not lead a component to another cluster.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + workDir, "TMPDIR=" + os.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a terminal's Ctrl-C reaches us alone, and we stop the parts in order
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The death signal follows the thread that started the child, so that
		// thread waits here as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// thisProgram returns a path that runs this very program, even if its file was
// removed since it started: a build may have cleared the cache.
func thisProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return "/proc/self/exe", nil
	}
	return path, nil
}

// stop asks the component to end, kills it after grace, and returns once it has
// ended. With a grace of zero it is killed at once.
func (p *process) stop(grace time.Duration) {
	p.stopping.Store(true)
	if grace > 0 {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// tail returns the last lines of the file at path, for a message to a person.
func tail(path string, lines int) (string, error) {
	const most = 16 << 10
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	text := make([]byte, min(size, most))
	if _, err := f.ReadAt(text, size-int64(len(text))); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	all := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))), nil
}
