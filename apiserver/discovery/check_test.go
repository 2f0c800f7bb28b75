package discovery

import (
	"encoding/json"
	"strings"
	"testing"
)

// CheckReferences fails t if a reference of an OpenAPI document leads nowhere. It
// reads the document in another way than what cuts it.
func CheckReferences(t testing.TB, name string, document []byte) (count int) {
	t.Helper()
	var root any
	if err := json.Unmarshal(document, &root); err != nil {
		t.Errorf("%s: %v", name, err)
		return 0
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for key, e := range v {
				if pointer, is := e.(string); is && key == "$ref" {
					count++
					if !leads(root, pointer) {
						t.Errorf("%s: reference %s leads nowhere", name, pointer)
					}
				}
				walk(e)
			}
		}
	}
	walk(root)
	return count
}

func leads(root any, pointer string) bool {
	rest, local := strings.CutPrefix(pointer, "#/")
	if !local {
		return false
	}
	for _, step := range strings.Split(rest, "/") {
		m, is := root.(map[string]any)
		if !is {
			return false
		}
		if root, is = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]; !is {
			return false
		}
	}
	return true
}
