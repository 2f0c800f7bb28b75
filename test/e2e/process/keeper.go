package process

import (
	"fmt"
	"sync"
	"time"
)

// restartDelay is how long a program that ended by itself stays away, as a
// supervisor's first back-off would have it.
const restartDelay = 500 * time.Millisecond

// Exit is an end of a program that nobody asked for.
type Exit struct {
	Name string
	At   time.Time
	Err  error // nil is exit status 0
}

func (e Exit) String() string {
	return fmt.Sprintf("%s ended by itself at %s: %v", e.Name, e.At.UTC().Format("15:04:05.000"), e.Err)
}

// Keeper keeps one program running: it starts it again whenever it ends.
type Keeper struct {
	mu      sync.Mutex
	spec    Spec
	current *Process // nil while stopped
	starts  int
	exits   []Exit
	quit    chan struct{} // closed by Stop
	wait    sync.WaitGroup
}

// Keep starts the program.
func Keep(spec Spec) (*Keeper, error) {
	k := &Keeper{spec: spec, quit: make(chan struct{})}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.start(); err != nil {
		return nil, err
	}
	return k, nil
}

// start needs mu.
func (k *Keeper) start() error {
	p, err := Start(k.spec)
	if err != nil {
		return err
	}
	k.current = p
	k.starts++
	k.wait.Go(func() { k.watch(p) })
	return nil
}

// watch starts the program again if p ends by itself.
func (k *Keeper) watch(p *Process) {
	<-p.Done()
	k.mu.Lock()
	if k.current != p {
		k.mu.Unlock()
		return // asked for
	}
	k.current = nil
	k.exits = append(k.exits, Exit{Name: k.spec.Name, At: time.Now(), Err: p.Err()})
	k.mu.Unlock()
	for {
		timer := time.NewTimer(restartDelay)
		select {
		case <-k.quit:
			timer.Stop()
			return
		case <-timer.C:
		}
		if k.revive() {
			return
		}
	}
}

// revive starts the program unless it was stopped or runs already; done is false
// if it could not be started.
func (k *Keeper) revive() (done bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.quit:
		return true
	default:
		return k.current != nil || k.start() == nil
	}
}

// Pause asks the program to end, kills it after grace, and keeps it away until
// Restart.
func (k *Keeper) Pause(grace time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.current; p != nil {
		k.current = nil
		p.Stop(grace)
	}
}

// Kill sends SIGKILL and starts the program again at once.
func (k *Keeper) Kill() error { return k.replace((*Process).Kill, nil) }

// Restart lets change alter the spec, asks the program to end, and starts it
// again. change may be nil.
func (k *Keeper) Restart(grace time.Duration, change func(*Spec)) error {
	return k.replace(func(p *Process) { p.Stop(grace) }, change)
}

func (k *Keeper) replace(end func(*Process), change func(*Spec)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.current; p != nil {
		k.current = nil
		end(p)
	}
	if change != nil {
		change(&k.spec)
	}
	return k.start()
}

// Stop asks the program to end, kills it after grace, and keeps it away.
func (k *Keeper) Stop(grace time.Duration) {
	k.mu.Lock()
	p := k.current
	k.current = nil
	select {
	case <-k.quit:
	default:
		close(k.quit)
	}
	k.mu.Unlock()
	if p != nil {
		p.Stop(grace)
	}
	k.wait.Wait()
}

// Spec is what was started last.
func (k *Keeper) Spec() Spec {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.spec
}

// PID is the running program's process id, or 0 while there is none.
func (k *Keeper) PID() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		return 0
	}
	return k.current.PID()
}

// Exits returns the ends so far that nobody asked for, oldest first.
func (k *Keeper) Exits() []Exit {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Exit(nil), k.exits...)
}
