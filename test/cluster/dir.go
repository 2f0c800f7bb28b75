package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Dir is the folder that holds everything of one cluster. Only the names below
// are ours: whatever else lies in it is left alone, by --fresh too.
type Dir string

func (d Dir) kubeconfig() string      { return d.join("kubeconfig") }
func (d Dir) env() string             { return d.join("env") }
func (d Dir) ports() string           { return d.join("ports.json") }
func (d Dir) etcdData() string        { return d.join("etcd") }
func (d Dir) pki(name string) string  { return d.join("pki", name) }
func (d Dir) conf(name string) string { return d.join("conf", name) }
func (d Dir) log(name string) string  { return d.join("logs", name+".log") }
func (d Dir) pid(name string) string  { return d.join("run", name+".pid") }
func (d Dir) run(name string) string  { return d.join("run", name) }
func (d Dir) join(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

// openDir makes path absolute and creates its folders.
func openDir(path string) (Dir, error) {
	if path == "" {
		return "", errors.New("no folder: say where the cluster lives with --dir=DIR")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	d := Dir(abs)
	for _, sub := range []string{"pki", "conf", "logs", "run"} {
		if err := os.MkdirAll(d.join(sub), 0o700); err != nil {
			return "", fmt.Errorf("create the cluster's folder: %w", err)
		}
	}
	return d, nil
}

// wipe removes the data of an earlier cluster. The lock must be held.
func (d Dir) wipe() error {
	paths := []string{d.etcdData(), d.join("pki"), d.join("conf"), d.join("logs"), d.kubeconfig(), d.env(), d.ports()}
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("wipe the old cluster: %w", err)
		}
	}
	_, err := openDir(string(d))
	return err
}

// startRun puts away what the last run left if it was killed, and its logs, so
// that a log holds one run. The lock must be held.
func (d Dir) startRun() error {
	if err := os.Remove(d.env()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what the last run left: %w", err)
	}
	for _, name := range append(components(), "etcd") {
		if err := os.Rename(d.log(name), d.log(name)+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put away the logs of the last run: %w", err)
		}
	}
	return nil
}

// lock makes this process the only cluster in d until the file is closed.
func (d Dir) lock() (*os.File, error) {
	f, err := os.OpenFile(d.run("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the cluster's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("a cluster runs in %s already: stop it with cluster stop --dir=%s, or give another --dir", d, d)
	}
	return f, nil
}

// running says whether some process holds the lock of d.
func (d Dir) running() bool {
	f, err := os.Open(d.run("lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return true
	}
	return false // closing the file gives the lock back
}

// readEnv returns the lines of DIR/env of a running cluster by name.
func (d Dir) readEnv() (map[string]string, error) {
	if !d.running() {
		return nil, fmt.Errorf("no cluster runs in %s: start one with cluster up --dir=%s", d, d)
	}
	text, err := os.ReadFile(d.env())
	if err != nil {
		return nil, fmt.Errorf("read the cluster's addresses (is it still starting?): %w", err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			env[name] = value
		}
	}
	return env, nil
}

func (d Dir) writePID(name string, pid int) error {
	return writeFile(d.pid(name), []byte(strconv.Itoa(pid)+"\n"), 0o644)
}

// writeFile replaces path in one step, so that no reader sees half of it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, data, mode); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
