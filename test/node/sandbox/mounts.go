package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// kernelSettings are what a kubelet changes for the whole machine.
func kernelSettings() []string {
	return []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
}

// prepareMounts hides the machine: /run is new, what is written to /var/lib and
// /var/log goes to memory, and the kernel's settings are copies.
func prepareMounts() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for _, folder := range []string{"/var/lib", "/var/log"} {
		if err := coverFolder(folder); err != nil {
			return err
		}
	}
	for _, name := range kernelSettings() {
		if err := coverSetting(name); err != nil {
			return err
		}
	}
	return nil
}

func coverFolder(folder string) error {
	upper, work := filepath.Join("/run/cover", folder, "upper"), filepath.Join("/run/cover", folder, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return fmt.Errorf("cover %s: %w", folder, err)
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", folder, upper, work)
	if err := syscall.Mount("overlay", folder, "overlay", 0, options); err != nil {
		return fmt.Errorf("cover %s: %w", folder, err)
	}
	return nil
}

func coverSetting(name string) error {
	real, copied := filepath.Join("/proc/sys", name), filepath.Join("/run/cover/sys", name)
	value, err := os.ReadFile(real)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // this kernel has it not
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(copied), 0o755)
	}
	if err == nil {
		err = os.WriteFile(copied, value, 0o644)
	}
	if err == nil {
		err = syscall.Mount(copied, real, "", syscall.MS_BIND, "")
	}
	if err != nil {
		return fmt.Errorf("cover %s: %w", real, err)
	}
	return nil
}
