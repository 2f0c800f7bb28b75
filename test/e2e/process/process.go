// Package process starts the programs that a suite tests, kills them and keeps
// their logs. No program that it starts outlives the suite.
package process

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Spec says how a program is started.
type Spec struct {
	Name string   // for people: logs and progress lines
	Path string   // the binary
	Args []string // without the program's own name
	Env  []string // added to PATH, HOME and TMPDIR; nothing else is inherited
	Log  string   // the file to which its output is appended
}

// Process is one run of a program.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
	err  error         // how it ended; read it after done
}

// Start starts a program. The kernel kills it when this process ends, however
// that happens.
func Start(spec Spec) (*Process, error) {
	out, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", spec.Name, err)
	}
	defer out.Close() // the program has its own copy
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Stdout, cmd.Stderr = out, out
	// KUBECONFIG and KRM_… of whoever runs the suite must not reach the program.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir()}, spec.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &Process{spec: spec, cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return p, nil
}

// run starts the program and waits for its end. The death signal follows the
// thread that started the program, so that thread stays here as long as it lives.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

// PID is the program's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the program ended; nil is exit status 0. Call it after Done.
func (p *Process) Err() error { return p.err }

// Kill sends SIGKILL and returns once the program has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the program to end with SIGTERM and kills it after grace. It returns
// once the program has ended; polite is false if it had to be killed.
func (p *Process) Stop(grace time.Duration) (polite bool) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		p.Kill()
		return false
	}
}
