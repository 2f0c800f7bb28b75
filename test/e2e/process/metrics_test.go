package process

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestScrape(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# HELP a b\na{resource=\"pods\"} 3\na{resource=\"nodes\"} 4\nab 5\n"+
			"d_bucket{resource=\"pods\",le=\"1\"} 50\nd_bucket{resource=\"pods\",le=\"2\"} 100\nd_bucket{resource=\"pods\",le=\"+Inf\"} 100\n")
	}))
	defer server.Close()
	m, err := Scrape(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := func(got, want float64) {
		t.Helper()
		if got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	f(m.Sum("a"), 7)
	f(m.Sum("a", `resource="pods"`), 3)
	f(m.Sum("ab"), 5)
	f(m.Quantile(0.5, nil, "d", `resource="pods"`), 1)
	f(m.Quantile(0.75, nil, "d"), 1.5)
	if q := m.Quantile(0.5, m, "d"); !math.IsNaN(q) {
		t.Errorf("quantile of nothing: %v", q)
	}
}
