package kube

import (
	"cmp"
	"slices"
)

// nearest returns up to three suggestions for a name that is none of names' keys:
// the values of the keys that the fewest slips of the keyboard away.
func nearest(name string, names map[string]string) (suggestions []string) {
	most := max(1, len(name)/4)
	type candidate struct {
		suggestion string
		distance   int
	}
	var near []candidate
	for key, suggestion := range names {
		if d := distance(name, key); d <= most {
			near = append(near, candidate{suggestion, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.suggestion, b.suggestion))
	})
	for _, c := range near {
		if c.distance > near[0].distance || len(suggestions) == 3 {
			break
		}
		if !slices.Contains(suggestions, c.suggestion) {
			suggestions = append(suggestions, c.suggestion)
		}
	}
	return suggestions
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour that lead from a to b (optimal string alignment).
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
