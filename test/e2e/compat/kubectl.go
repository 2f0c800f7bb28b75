package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// commandTries is how often a command is run again if its outputs differ: the world
// may have changed between the two answers. A real difference stays.
const commandTries = 3

// kubectlPart runs every command against both addresses.
func kubectlPart(ctx context.Context, h *house, r *result) error {
	r.kubectl = h.compareCommands(ctx, h.truth, h.second, h.chosen(commands()), r.fault)
	if watching := h.chosen(watchingCommands()); len(watching) > 0 {
		t, err := h.compareWatching(ctx, h.truth, h.second, watching, r.fault)
		if err != nil {
			return err
		}
		r.kubectl.equal += t.equal
		r.kubectl.total += t.total
	}
	h.say("%v kubectl commands say the same", r.kubectl)
	return nil
}

func (h *house) chosen(all []command) (chosen []command) {
	for _, c := range all {
		if strings.Contains(c.line, h.cfg.only) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// compareCommands runs each command against both sides, and reports those that
// differ, and those that say nothing although they should.
func (h *house) compareCommands(ctx context.Context, a, b *side, all []command, report func(string, ...any)) (t tally) {
	for _, c := range all {
		if ctx.Err() != nil {
			return t
		}
		t.total++
		fault := ""
		for range commandTries {
			outputs := h.both(ctx, c, a, b)
			if fault = judge(c, outputs[0], outputs[1]); fault == "" {
				t.equal++
				break
			}
		}
		if fault != "" {
			report("kubectl %s: %s", c.line, fault)
		}
	}
	return t
}

// output is what one run of kubectl brought.
type output struct {
	text   string // both streams, with the address taken out
	failed bool
	bare   bool // nothing on the standard output
}

// both runs a command against both sides at the same time.
func (h *house) both(ctx context.Context, c command, a, b *side) (outputs [2]output) {
	var group sync.WaitGroup
	for i, s := range []*side{a, b} {
		group.Go(func() { outputs[i] = h.kubectl(ctx, c, s, 0) })
	}
	group.Wait()
	return outputs
}

// kubectl runs one command. After stop, if that is not 0, it is interrupted, as a
// watch must be.
func (h *house) kubectl(ctx context.Context, c command, s *side, stop time.Duration) output {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	args := append(words(c.line), "--kubeconfig="+s.kubeconfig, "--cache-dir="+s.cache)
	cmd := exec.CommandContext(ctx, h.cfg.kubectl, args...)
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	cmd.Env = []string{"HOME=" + h.dir, "PATH=" + os.Getenv("PATH"), "KUBERC=off"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if stop > 0 {
		timer := time.AfterFunc(stop, func() { _ = cmd.Process.Signal(syscall.SIGINT) })
		defer timer.Stop()
	}
	if err := cmd.Start(); err != nil {
		return output{text: err.Error(), failed: true}
	}
	err := cmd.Wait()
	text := out.String()
	if faults.Len() > 0 {
		text += "(stderr)\n" + faults.String()
	}
	for _, address := range []string{s.config.Host, h.truth.config.Host} { // events name the API server's
		text = strings.ReplaceAll(text, address, "https://address")
	}
	return output{text: text, failed: err != nil && stop == 0, bare: out.Len() == 0}
}

// judge says what is wrong with the two outputs of a command; "" is nothing.
func judge(c command, a, b output) string {
	switch {
	case c.meant == "" && a.failed:
		return "it fails against the API server itself: " + a.text
	case c.meant == "" && a.bare:
		return "it brings nothing from the API server itself: " + a.text
	}
	if c.common != nil {
		a.text, b.text = c.common(a.text), c.common(b.text)
		if a.text == "" {
			return "nothing of its output is compared"
		}
	}
	if a.failed != b.failed {
		return fmt.Sprintf("one fails, the other does not\nAPI server: %s\nKRM:        %s", clip(a.text), clip(b.text))
	}
	return differ(a.text, b.text)
}

func clip(text string) string {
	const most = 600
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// words splits a command line at spaces outside of single quotes.
func words(line string) (words []string) {
	word, quoted, begun := strings.Builder{}, false, false
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, begun = !quoted, true
		case c == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}
