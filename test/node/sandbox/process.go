package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// ErrEnded comes when a program ended that should run.
var ErrEnded = errors.New("it ended")

// Process is a program that runs inside.
type Process struct {
	name, log string
	cmd       *exec.Cmd
	done      chan struct{}
	err       error // after done
}

// Start starts a program with nothing of this one's environment but PATH, and its
// output in the file log. It dies with this process.
func Start(name, log, path string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/run", "TMPDIR=/run"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &Process{name: name, log: log, cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death signal follows this thread
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

// Alive is nil while the program runs; else it is ErrEnded, and says how it ended and
// what it said last.
func (p *Process) Alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s: %w; the end of its log:\n%s", p.name, errors.Join(ErrEnded, p.err), tail(p.log))
	default:
		return nil
	}
}

// Stop asks the program to end, kills it after grace, and returns when it has ended.
func (p *Process) Stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
