package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of /proc/PID/stat: USER_HZ is 100 on every Linux
// that Go runs on.
const ticksPerSecond = 100

// Usage is what one running process has taken from the machine.
type Usage struct {
	CPUSeconds float64 // user and system time since its start, children that ended included
	RSS        int64   // resident bytes now
	PeakRSS    int64   // the most resident bytes so far
}

// ReadUsage reads /proc/PID of a running process.
func ReadUsage(pid int) (Usage, error) {
	cpu, err := cpuSeconds(pid)
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
	}
	return Usage{CPUSeconds: cpu, RSS: kilobytes(string(status), "VmRSS:"), PeakRSS: kilobytes(string(status), "VmHWM:")}, nil
}

func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in brackets, with spaces perhaps.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, fmt.Errorf("stat %q: too short", stat)
	}
	var ticks float64
	for _, field := range fields[11:15] { // utime, stime, cutime and cstime, fields 14 to 17 of proc(5)
		n, err := strconv.ParseFloat(string(field), 64)
		if err != nil {
			return 0, fmt.Errorf("stat %q: %w", stat, err)
		}
		ticks += n
	}
	return ticks / ticksPerSecond, nil
}

func kilobytes(status, field string) int64 {
	_, rest, found := strings.Cut(status, field)
	if !found {
		return 0
	}
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// MachineSeconds is the CPU time that everything on this machine has taken since it
// was started: user and system time, interrupts, and what a hypervisor gave to others.
func MachineSeconds() (float64, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's usage: %w", err)
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read the machine's usage: %q is not what proc(5) says", line)
	}
	var ticks float64
	for i, field := range fields[1:9] {
		if i == 3 || i == 4 { // idle and iowait
			continue
		}
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("read the machine's usage: %w", err)
		}
		ticks += n
	}
	return ticks / ticksPerSecond, nil
}
