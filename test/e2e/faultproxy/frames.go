package faultproxy

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// Ref names one object of one resource, such as services and default/web, or
// deployments.apps and shop/web.
type Ref struct {
	Resource string
	Key      string // namespace/name, or name without a namespace
}

// Damage is what happens to one frame of a watch.
type Damage uint8

// The damages.
const (
	Intact  Damage = iota
	Dropped        // left out; the stream goes on
	Halved         // its first half is sent, and then the connection ends
	Garbled        // its first half is sent as a whole line; the stream goes on
	Noise          // bytes that are no JSON are sent as a line in its place; the stream goes on
)

// Frames decides what becomes of the frames of all watches. All its methods may
// be called at any time.
type Frames struct {
	mu       sync.Mutex
	swallow  map[Ref]bool
	swallows map[Ref]int
	damage   Damage
	left     map[string]int // frames still to be damaged, by resource
	damaged  int
	expired  int
}

// Swallow makes the proxy drop every live watch frame of these objects from now
// on; bookmarks, initial events and lists are left alone. nil ends it.
func (f *Frames) Swallow(refs []Ref) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.swallow, f.swallows = map[Ref]bool{}, map[Ref]int{}
	for _, ref := range refs {
		f.swallow[ref] = true
	}
}

// Swallowed says how many of the objects lost a frame.
func (f *Frames) Swallowed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.swallows)
}

// Damage damages the next count live frames of each of resources.
func (f *Frames) Damage(damage Damage, count int, resources ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.damage, f.left, f.damaged = damage, map[string]int{}, 0
	for _, resource := range resources {
		f.left[resource] = count
	}
}

// Damaged says how many frames were damaged since the last Damage.
func (f *Frames) Damaged() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.damaged
}

// Expired says how many watches the API server has refused or ended with 410.
func (f *Frames) Expired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.expired
}

func (f *Frames) noteExpired() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expired++
}

// judge decides about one live frame.
func (f *Frames) judge(resource string, line []byte) Damage {
	if bytes.HasPrefix(line, []byte(`{"type":"ERROR"`)) {
		if bytes.Contains(line, []byte(`"code":410`)) {
			f.noteExpired()
		}
		return Intact
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.swallow) == 0 && f.left[resource] == 0 {
		return Intact
	}
	kind, key := peek(line)
	if kind != "ADDED" && kind != "MODIFIED" && kind != "DELETED" {
		return Intact
	}
	if ref := (Ref{resource, key}); f.swallow[ref] {
		f.swallows[ref]++
		return Dropped
	}
	if f.left[resource] > 0 {
		f.left[resource]--
		f.damaged++
		return f.damage
	}
	return Intact
}

// apply writes the frame as damage leaves it. It returns false if the connection
// must end after that.
func (d Damage) apply(line []byte) (out []byte, goOn bool) {
	switch d {
	case Dropped:
		return nil, true
	case Halved:
		return line[:len(line)/2], false
	case Garbled:
		return append(bytes.Clone(line[:len(line)/2]), '\n'), true
	case Noise:
		return append(bytes.Repeat([]byte{0xff, 0xfe, '}', '"', 0}, 40), '\n'), true
	default:
		return line, true
	}
}

type metadata struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	Annotations map[string]string `json:"annotations"`
}

// peek reads the type and the key of a frame, which may hold an object or a Table
// of one row.
func peek(line []byte) (kind, key string) {
	var frame struct {
		Type   string `json:"type"`
		Object struct {
			Metadata metadata `json:"metadata"`
			Rows     []struct {
				Object struct {
					Metadata metadata `json:"metadata"`
				} `json:"object"`
			} `json:"rows"`
		} `json:"object"`
	}
	if json.Unmarshal(line, &frame) != nil {
		return "", ""
	}
	meta := frame.Object.Metadata
	if len(frame.Object.Rows) > 0 {
		meta = frame.Object.Rows[0].Object.Metadata
	}
	if meta.Namespace == "" {
		return frame.Type, meta.Name
	}
	return frame.Type, meta.Namespace + "/" + meta.Name
}

// endsInitial says whether this frame is the bookmark after the initial events.
func endsInitial(line []byte) bool {
	return bytes.Contains(line, []byte(`"k8s.io/initial-events-end":"true"`)) &&
		bytes.HasPrefix(line, []byte(`{"type":"BOOKMARK"`))
}

// resourceOf returns the resource that a path of the Kubernetes API names, such as
// pods or deployments.apps; "" if it names none.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	group := ""
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, parts = "."+parts[1], parts[3:]
	default:
		return ""
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	return parts[0] + group
}
