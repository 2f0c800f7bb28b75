package kubeapi

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Whatever the selector, the filter takes what the selector itself takes.
func TestFilterIsTheSelector(t *testing.T) {
	empty := &mirror.Object{Key: object.Key{Name: "x"}}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"a", "b", "c", "app", "web"})
		has := rapid.MapOf(word, word).Draw(t, "labels")
		text := "{"
		for key, value := range has {
			if text != "{" {
				text += ","
			}
			text += fmt.Sprintf("%q:%q", key, value)
		}
		o, err := empty.Restated("1", []byte(`{"metadata":{"labels":`+text+`}}}`))
		if err != nil {
			t.Fatal(err)
		}
		selector := ""
		for i := range rapid.IntRange(1, 3).Draw(t, "requirements") {
			key, value, other := word.Draw(t, "key"), word.Draw(t, "value"), word.Draw(t, "other")
			if i > 0 {
				selector += ","
			}
			selector += rapid.SampledFrom([]string{
				key + "=" + value, key + "==" + value, key + "!=" + value, key, "!" + key,
				key + " in (" + value + ")", key + " in (" + value + "," + other + ")", key + " notin (" + value + "," + other + ")",
			}).Draw(t, "requirement")
		}
		parsed, err := parseLabels(selector)
		if err != nil {
			t.Fatal(err)
		}
		var f filter
		f.selectLabels(parsed)
		if got, want := f.matches(o), parsed.Matches(labels.Set(has)); got != want {
			t.Fatalf("%s of %v: %v, want %v", selector, has, got, want)
		}
	})
}
