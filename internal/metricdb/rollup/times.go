package rollup

import (
	"slices"
	"strconv"
	"time"
)

func floorHour(at time.Time) time.Time { return time.Unix(0, floor(at.UnixNano(), int64(hour))).UTC() }

func ceilHour(at time.Time) time.Time { return floorHour(at.Add(hour - 1)) }

// floorDay is the begin of a time's day in UTC.
func floorDay(at time.Time) time.Time { return time.Unix(0, floor(at.UnixNano(), int64(day))).UTC() }

func ceilDay(at time.Time) time.Time { return floorDay(at.Add(day - 1)) }

func floor(at, size int64) int64 {
	rest := at % size
	if rest < 0 {
		rest += size
	}
	return at - rest
}

func ceil(at, size int64) int64 { return -floor(-at, size) }

// seconds is a resolution as it stands in the names of fields.
func seconds(every time.Duration) string { return strconv.FormatInt(int64(every/time.Second), 10) }

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}

func union(a, b []time.Duration) []time.Duration {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
