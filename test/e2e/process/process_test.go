package process

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func shell(t *testing.T, script string) Spec {
	t.Helper()
	return Spec{Name: "shell", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")}
}

func TestKeeperRestartsWhatEnds(t *testing.T) {
	spec := shell(t, "echo started; exec sleep 600")
	k, err := Keep(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Stop(time.Second)
	first := k.PID()
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	second := k.PID()
	if second == first || second == 0 {
		t.Fatalf("pid after a kill: %d, before: %d", second, first)
	}
	if exits := k.Exits(); len(exits) != 0 {
		t.Fatalf("a kill of ours counts as an exit: %v", exits)
	}
	// An end that nobody asked for is remembered.
	other, err := os.FindProcess(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Kill(); err != nil {
		t.Fatal(err)
	}
	err = Poll(t.Context(), 10*time.Second, "a third start", func(context.Context) error {
		if pid := k.PID(); pid == 0 || pid == second {
			return os.ErrNotExist
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if exits := k.Exits(); len(exits) != 1 || exits[0].Err == nil {
		t.Fatalf("exits: %v, want one by a signal", exits)
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	p, err := Start(shell(t, "trap '' TERM; echo ready; while :; do sleep 1; done"))
	if err != nil {
		t.Fatal(err)
	}
	err = Poll(t.Context(), 10*time.Second, "the trap", func(context.Context) error {
		if !strings.Contains(Tail(p.spec.Log, 1), "ready") {
			return os.ErrNotExist
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.Stop(100 * time.Millisecond) {
		t.Error("it ignores SIGTERM and ended all the same")
	}
}

func TestUsage(t *testing.T) {
	usage, err := ReadUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if usage.RSS < 1<<20 || usage.PeakRSS < usage.RSS {
		t.Errorf("usage of this process: %+v", usage)
	}
	if machine, err := MachineSeconds(); err != nil || machine < usage.CPUSeconds {
		t.Errorf("the machine has used %v s, this process %v s: %v", machine, usage.CPUSeconds, err)
	}
	if _, err := ReadUsage(0); err == nil {
		t.Error("process 0 has a usage")
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Tail(path, 2); got != "b\nc" {
		t.Errorf("tail: %q", got)
	}
}
