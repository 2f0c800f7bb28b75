package main

import (
	"encoding/json"
	"testing"
	"time"
)

func TestJournalFindsBrokenPromises(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	writes := []write{
		{resource: "pods", key: "a", uid: "1", version: "10", in: true, at: began.Add(10 * time.Second)},
		{resource: "pods", key: "a", uid: "1", version: "11", in: false, at: began.Add(11 * time.Second)},
		{resource: "gadgets", key: "g", uid: "9", version: "11", in: true, at: began.Add(11 * time.Second)},
		{resource: "pods", key: "a", uid: "1", version: "12", in: true, at: began.Add(12 * time.Second)},
		{resource: "pods", key: "a", uid: "1", at: began.Add(13 * time.Second)},
	}
	f := func(selected bool, events string, faults int) {
		t.Helper()
		j := &journal{Resource: "pods", Selected: selected, Lists: []time.Time{began}}
		if err := json.Unmarshal([]byte(events), &j.Events); err != nil {
			t.Fatal(err)
		}
		if got := j.faults(writes); len(got) != faults {
			t.Errorf("%d faults, want %d: %q", len(got), faults, got)
		}
	}
	const (
		added   = `{"kind":"ADDED","key":"a","uid":"1","version":"10"}`
		changed = `,{"kind":"MODIFIED","key":"a","uid":"1","version":"11"}`
		again   = `,{"kind":"MODIFIED","key":"a","uid":"1","version":"12"}`
		deleted = `,{"kind":"DELETED","key":"a","uid":"1","version":"13"}`
		left    = `,{"kind":"DELETED","key":"a","uid":"1","version":"11"}`
		back    = `,{"kind":"ADDED","key":"a","uid":"1","version":"12"}`
	)
	f(false, "["+added+changed+again+deleted+"]", 0)
	f(false, "["+added+again+deleted+"]", 1)               // one lost
	f(false, "["+added+changed+again+"]", 1)               // the deletion lost
	f(false, "["+added+again+changed+deleted+"]", 1)       // out of order
	f(false, "["+added+changed+again+deleted+again+"]", 2) // after its deletion, and back in time
	f(true, "["+added+left+back+deleted+"]", 0)
	f(true, "["+added+back+deleted+"]", 1) // never told that it left
	f(true, "["+added+left+deleted+"]", 1) // never told that it came back
}

func TestExcuse(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j := &journal{Lists: []time.Time{began, began.Add(time.Minute)}}
	for after, want := range map[time.Duration]bool{
		-time.Hour: true, time.Second: true, 30 * time.Second: false, 59 * time.Second: true, 2 * time.Minute: false,
	} {
		if got := j.excused(began.Add(after)); got != want {
			t.Errorf("a write %v after the first list: excused %t", after, got)
		}
	}
}
