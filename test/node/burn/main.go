// Command burn uses a known amount of CPU, memory, disk and network, so that what is
// measured of its container can be compared with the truth. With no flag it uses
// nothing and waits: it is the pause image too.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	var (
		millicores = flag.Int("millicores", 0, "CPU to use")
		memory     = flag.Int("memory-mb", 0, "memory to hold, in MiB")
		faults     = flag.Int("faults", 0, "page faults per second")
		hold       = flag.Int("hold-mb", 0, "MiB to keep in a file of the container's own layer")
		write      = flag.Int("write", 0, "bytes per second to write to --scratch, past the page cache")
		scratch    = flag.String("scratch", "/scratch", "folder of a volume")
		listen     = flag.String("listen", "", "address to receive on")
		send       = flag.String("send", "", "address to send to")
		rate       = flag.Int("rate", 0, "bytes per second to send")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var jobs sync.WaitGroup
	job := func(wanted bool, run func() error) {
		if !wanted {
			return
		}
		jobs.Go(func() {
			if err := run(); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "burn:", err)
				os.Exit(1)
			}
		})
	}
	job(*millicores > 0, func() error { return burnCPU(ctx, *millicores) })
	job(*memory > 0, func() error { return holdMemory(ctx, *memory<<20) })
	job(*faults > 0, func() error { return causeFaults(ctx, *faults) })
	job(*hold > 0, func() error { return holdFile("/hold", *hold<<20) })
	job(*write > 0, func() error { return writeDisk(ctx, *scratch, *write) })
	job(*listen != "", func() error { return receive(ctx, *listen) })
	job(*send != "", func() error { return sendTo(ctx, *send, *rate) })
	<-ctx.Done()
	jobs.Wait()
}
