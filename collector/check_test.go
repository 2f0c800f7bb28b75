package collector

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c", "d")
		c.takes["b"], c.takes["c"] = -time.Millisecond, time.Hour
		c.nodes[3].Ready = "Unknown"
		var out bytes.Buffer
		options := Options{Schedule: NewSchedule(30*time.Second, 0, 0)}
		err := NewCheck("default", []NamedSource{{"kubernetes", c}}, c, options).Run(t.Context(), &out)
		if err == nil || err.Error() != "cluster default: 3 of 4 did not answer as they should" {
			t.Errorf("error %v", err)
		}
		var rows []string
		for line := range strings.Lines(out.String()) {
			rows = append(rows, strings.Join(strings.Fields(line), " "))
		}
		want := []string{
			"NODE SOURCE RESULT TOOK SETS URL",
			"a kubernetes ok 0s 1 https://a",
			"b kubernetes refused 1ms 0 https://b",
			"c kubernetes timeout 10s 0 https://c",
			"d kubernetes not ready 0s 0",
		}
		if got := strings.Join(rows[:5], "\n"); got != strings.Join(want, "\n") {
			t.Errorf("printed:\n%s", out.String())
		}
		if !strings.Contains(out.String(), "kubernetes refused: it is refused") {
			t.Errorf("no advice: %s", out.String())
		}
		c = newCluster()
		if err := NewCheck("default", []NamedSource{{"kubernetes", c}}, c, options).Run(t.Context(), &out); err == nil || !strings.Contains(err.Error(), "has no nodes") {
			t.Errorf("error %v", err)
		}
	})
}
