package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies are the folders in which cgroups are made: one with cgroup v2, else
// one for each controller.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		return []string{cgroups}, nil
	}
	found, err := filepath.Glob(cgroups + "/*/cgroup.procs")
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted in %s: %w", cgroups, err)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found, nil
}

// makeCgroups makes the cgroup name everywhere.
func makeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup %s: %w", name, err)
		}
	}
	if err := favour(name); err != nil {
		return err
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // of v1: they are empty in a new cgroup
		value, err := os.ReadFile(filepath.Join(cgroups, "cpuset", file))
		if err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(cgroups, "cpuset", name, file), value, 0o644); err != nil {
			return fmt.Errorf("give cgroup %s all processors: %w", name, err)
		}
	}
	return nil
}

// favour lets what runs in the cgroup come before whatever else the machine does.
func favour(name string) error {
	for file, share := range map[string]string{"cpu/" + name + "/cpu.shares": "10240", name + "/cpu.weight": "1000"} {
		err := os.WriteFile(filepath.Join(cgroups, file), []byte(share), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("favour cgroup %s: %w", name, err)
		}
	}
	return nil
}

// removeCgroups removes the cgroup name and all below it. Its processes have ended,
// but the kernel may need a moment.
func removeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		var faults []error
		for _, root := range roots {
			faults = append(faults, removeTree(filepath.Join(root, name)))
		}
		err := errors.Join(faults...)
		if err == nil || try == 50 {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// removeTree removes folders from the leaves up. Files of a cgroup go with it.
func removeTree(root string) error {
	var folders []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list cgroup %s: %w", root, err)
	}
	for _, folder := range slices.Backward(folders) {
		if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup %s: %w", folder, err)
		}
	}
	return nil
}
