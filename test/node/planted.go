package main

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/node/figures"
)

// plant spoils what KRM said in several ways, one at a time, and returns how many of
// them the comparison found: a suite that finds none proves nothing.
func plant(kubelet map[figures.Key]figures.History, krm map[figures.Key][]figures.Point, ends []time.Time, window figures.Window) (found, planted int) {
	side := figures.Key{Kind: figures.Container, Namespace: namespace, Pod: "cpu", Container: "side"}
	of := func(metric string) figures.Key { k := side; k.Metric = metric; return k }
	try := func(key figures.Key, spoil func([]figures.Point) []figures.Point) {
		planted++
		spoiled := maps.Clone(krm)
		spoiled[key] = spoil(slices.Clone(krm[key]))
		if slices.ContainsFunc(figures.Compare(kubelet, spoiled, ends, window), wrong) {
			found++
		}
	}
	scale := func(by float64) func([]figures.Point) []figures.Point {
		return func(points []figures.Point) []figures.Point {
			for i := range points {
				points[i].Value *= by
			}
			return points
		}
	}
	nothing := func([]figures.Point) []figures.Point { return nil }
	try(of("cpu/usage_rate"), scale(1.12))
	try(of("cpu/usage"), scale(0.9))
	try(of("memory/working_set"), scale(1.06))
	try(of("memory/page_faults_rate"), scale(-1))
	try(of("memory/rss"), nothing)
	try(of("cpu/usage_rate"), nothing)

	// A wrapped counter must be found by the look at all values.
	planted++
	wrapped := map[figures.Key][]figures.Point{of("cpu/usage_rate"): {{At: ends[0], Value: math.MaxUint64 - 4000}}}
	if len(figures.Absurd(wrapped, figures.Capacity{Millicores: 2000, Memory: 1 << 40, Bytes: 1 << 30})) > 0 {
		found++
	}
	return found, planted
}
