// Package sandbox runs a program as root in mount, process and network namespaces of
// its own, where it can run a container runtime and change what it likes. When the
// program ends, or whoever started it does, the kernel ends everything that runs
// there, and nothing of it is left on the machine.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// variable tells this program, started again, where it is: first it is process 1 of
// the namespaces, which prepares them, and that starts it once more to do the work.
const variable = "KRM_SANDBOX"

type stage struct {
	Work   bool
	Config Config
}

// Config says what a sandbox gets.
type Config struct {
	Dir       string   // folder for everything that is written; whoever calls removes it
	Cgroup    string   // name of a cgroup in every hierarchy, without slashes
	Addresses []string // of the network's only interface besides lo
}

// Inside says whether this process is inside a sandbox, to do the work there, and in
// which. In process 1 of a sandbox it does what that is for and does not return.
func Inside() (cfg Config, ok bool) {
	text := os.Getenv(variable)
	if text == "" {
		return cfg, false
	}
	var here stage
	if err := json.Unmarshal([]byte(text), &here); err != nil {
		fmt.Fprintf(os.Stderr, "sandbox: %s is not ours: %v\n", variable, err)
		os.Exit(1)
	}
	if here.Work {
		return here.Config, true
	}
	code, err := prepareAndWork(here.Config)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
	}
	os.Exit(code)
	return cfg, false
}

// environment is this process's, with where the next one is.
func environment(next stage) ([]string, error) {
	text, err := json.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("tell the sandbox: %w", err)
	}
	old := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, variable+"=") })
	return append(old, variable+"="+string(text)), nil
}

// Run starts this program, with the same arguments, inside a new sandbox and returns
// when it has ended. If ctx ends first, everything inside is killed. After Run no
// process and no cgroup of the sandbox is left; if one is, that is the error.
func Run(ctx context.Context, cfg Config) (err error) {
	if os.Getuid() != 0 {
		return errors.New("a real kubelet needs root: run as root")
	}
	if err := makeCgroups(cfg.Cgroup); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeCgroups(cfg.Cgroup)) }()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	if cmd.Env, err = environment(stage{Config: cfg}); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // Ctrl-C reaches us alone
	}
	// The death signal follows the thread that started process 1.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("run in the sandbox: %w", err))
	}
	return nil
}

// prepareAndWork is process 1.
func prepareAndWork(cfg Config) (code int, err error) {
	if err := prepareMounts(); err != nil {
		return 1, err
	}
	if err := prepareNetwork(cfg.Addresses); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find this program: %w", err)
	}
	env, err := environment(stage{Work: true, Config: cfg})
	if err != nil {
		return 1, err
	}
	worker, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 1, fmt.Errorf("start %s: %w", filepath.Base(self), err)
	}
	// Process 1 gets everybody's orphans, such as containers' shims, and must wait for them.
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait for the work: %w", err)
		case pid == worker && status.Exited():
			return status.ExitStatus(), nil
		case pid == worker:
			return 1, fmt.Errorf("the work was ended by signal %v", status.Signal())
		}
	}
}
