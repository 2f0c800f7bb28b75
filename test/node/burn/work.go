package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

const step = 20 * time.Millisecond

// every calls do each step until ctx ends, with how much of amount per second is due.
// What was missed, because the machine was busy, is made up for.
func every(ctx context.Context, amount int, do func(due int) error) error {
	tick := time.NewTicker(step)
	defer tick.Stop()
	began, done := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			due := int(time.Since(began).Seconds()*float64(amount)) - done
			done += due
			if err := do(due); err != nil {
				return err
			}
		}
	}
}

// burnCPU spins until the process has used its share of the time that has passed,
// by the kernel's own account: what else the process does counts too.
func burnCPU(ctx context.Context, millicores int) error {
	began, before, sum := time.Now(), usedCPU(), 0
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for usedCPU()-before < time.Since(began)*time.Duration(millicores)/1000 {
			sum = spin(sum)
		}
	}
}

func usedCPU() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// spin takes some 50 µs.
//
//go:noinline
func spin(sum int) int {
	for i := range 100_000 {
		sum += i * i
	}
	return sum
}

const page = 4096

// touch makes the kernel give real memory to every page.
func touch(memory []byte) {
	for i := 0; i < len(memory); i += page {
		memory[i] = 1
	}
}

func newMemory(size int) ([]byte, error) {
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	_ = syscall.Madvise(memory, 15) // MADV_NOHUGEPAGE: one fault per page
	return memory, nil
}

func holdMemory(ctx context.Context, size int) error {
	memory, err := newMemory(size)
	if err != nil {
		return err
	}
	touch(memory)
	<-ctx.Done()
	return syscall.Munmap(memory)
}

func causeFaults(ctx context.Context, perSecond int) error {
	return every(ctx, perSecond, func(due int) error {
		if due == 0 {
			return nil
		}
		memory, err := newMemory(due * page)
		if err != nil {
			return err
		}
		touch(memory)
		return syscall.Munmap(memory)
	})
}

func holdFile(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, int64(size))
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// writeDisk writes round and round in one file, past the page cache: what the kernel
// writes back later it would charge to nobody.
func writeDisk(ctx context.Context, folder string, perSecond int) error {
	const block, size = 64 << 10, 8 << 20
	f, err := os.OpenFile(filepath.Join(folder, "written"), os.O_CREATE|os.O_WRONLY|syscall.O_DIRECT, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	room := make([]byte, block+page)
	data := room[page-int(uintptr(unsafe.Pointer(&room[0]))%page):][:block]
	owed, at := 0, int64(0)
	return every(ctx, perSecond, func(due int) error {
		for owed += due; owed >= block; owed -= block {
			if _, err := f.WriteAt(data, at); err != nil {
				return err
			}
			at = (at + block) % size
		}
		return nil
	})
}

func receive(ctx context.Context, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
}

func sendTo(ctx context.Context, address string, perSecond int) error {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return every(ctx, perSecond, func(due int) error {
		_, err := conn.Write(make([]byte, due))
		return err
	})
}
