package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// usage is what has been taken of the machine so far, in CPU seconds.
type usage struct {
	at                         time.Time
	machine, own, krm, influxd float64
}

// usage reads it; server may be nil.
func (l *lab) usage(server *server) (u usage, err error) {
	u.at = time.Now()
	var errs [4]error
	u.machine, errs[0] = process.MachineSeconds()
	read := func(pid int, err *error) float64 {
		var used process.Usage
		used, *err = process.ReadUsage(pid)
		return used.CPUSeconds
	}
	own, _ := process.ReadUsage(os.Getpid())
	u.own = own.CPUSeconds
	if server != nil {
		u.krm = read(server.process.PID(), &errs[2])
	}
	if l.influx != 0 {
		u.influxd = read(l.influx, &errs[3])
	}
	return u, errors.Join(errs[:]...)
}

// others adds to the result what everything else took since begin.
func (l *lab) others(server *server, begin usage, r *result) error {
	end, err := l.usage(server)
	if err != nil {
		return err
	}
	r.otherSeconds += end.machine - begin.machine - (end.own - begin.own) - (end.krm - begin.krm) - (end.influxd - begin.influxd)
	r.wall += end.at.Sub(begin.at)
	return nil
}

// findInfluxd returns the process id of the influxd that hack/influxd.sh, our parent,
// started; 0 if there is none.
func findInfluxd() int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		name, rest, _ := strings.Cut(string(text), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != os.Getppid() || !strings.HasSuffix(name, "(influxd") {
			continue
		}
		if _, err := fmt.Sscan(name, &pid); err == nil {
			return pid
		}
	}
	return 0
}

// settle waits until influxd has nothing left to do with what was written.
func (l *lab) settle(ctx context.Context) error {
	if l.influx == 0 {
		return nil
	}
	began := time.Now()
	quiet := 0
	for last := 0.0; quiet < 3 && time.Since(began) < time.Minute; {
		used, err := process.ReadUsage(l.influx)
		if err != nil {
			return err
		}
		if used.CPUSeconds-last < 0.05 {
			quiet++
		} else {
			quiet = 0
		}
		last = used.CPUSeconds
		if err := process.Pause(ctx, time.Second); err != nil {
			return err
		}
	}
	l.say("  influxd settled after %.0f s", time.Since(began).Seconds())
	return nil
}

// loadAverage is the machine's, as it says itself.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}
