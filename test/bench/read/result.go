package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// result is what was measured and checked.
type result struct {
	pods      int
	jobs      []job
	idle      phase
	busy      phase
	fans      [2][]fanned // by side
	checks    []checked
	memory    memory
	others    float64 // CPUs that everything else on the machine took meanwhile
	different int
}

// aims are the ratios that KRM is to reach.
func aims() map[string]string {
	return map[string]string{
		"list_json": "10", "list_gzip": "40", "list_proto": "8", "selector": "10", "namespace": "3",
		getRPS: "3", "cpu": "10", "client": "1", client304: "50",
	}
}

// ratio is how many times KRM is better than kube-apiserver, by the medians.
func (ph *phase) ratio(key string) float64 {
	switch key {
	case getRPS:
		return over(median(ph.rows[key][krm].perSecond), median(ph.rows[key][kube].perSecond))
	case "cpu":
		return over(ph.cpuPerRead("list_json", kube), ph.cpuPerRead("list_json", krm))
	}
	return over(ph.kubeSamples(key).median(), ph.krmSamples(key).median())
}

// ratioP99 is the same by the 99th percentiles of how long reads took.
func (ph *phase) ratioP99(key string) float64 {
	return over(ph.kubeSamples(key).quantile(0.99), ph.krmSamples(key).quantile(0.99))
}

// kubeSamples are what a job of KRM is compared with: a 304 with client-go's list, as
// client-go knows no such thing; KRM's client also with client-go at KRM.
func (ph *phase) kubeSamples(key string) samples {
	switch key {
	case client304:
		return ph.rows["client"][kube].samples
	case clientSame:
		return ph.rows[clientSame][krm].samples
	}
	return ph.rows[key][kube].samples
}

// krmSamples are what of KRM a job compares.
func (ph *phase) krmSamples(key string) samples {
	if key == clientSame {
		key = "client"
	}
	return ph.rows[key][krm].samples
}

// String is the line that programs read.
func (r *result) String() string {
	var b strings.Builder
	f := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	f("RESULT")
	for _, key := range []string{"list_json", "list_gzip", "list_proto", "selector", "namespace", getRPS, "cpu", "client"} {
		f(" %s=%.1f", key, r.busy.ratio(key))
	}
	f(" client_304=%.0f", r.idle.ratio(client304))
	f(" watchers1000_p99_ms=%.1f different=%d", r.fanP99(krm, 1), r.different)
	for _, key := range []string{"list_json", "list_gzip", "list_proto", "selector", "namespace", getRPS, "cpu", "client"} {
		f(" idle_%s=%.1f", key, r.idle.ratio(key))
	}
	for _, key := range []string{"list_json", "list_gzip", "list_proto", "selector", "namespace", "get", "client"} {
		f(" p99_%s=%.1f", key, r.busy.ratioP99(strings.Replace(key, "get", getRPS, 1)))
	}
	f(" client_same=%.2f client_go=%.1f", r.busy.ratio(clientSame), r.busy.ratio("client_go"))
	f(" watchers100_p99_ms=%.1f kube_watchers100_p99_ms=%.1f kube_watchers1000_p99_ms=%.1f", r.fanP99(krm, 0), r.fanP99(kube, 0), r.fanP99(kube, 1))
	f(" lost=%d disorder=%d ended=%d", r.lost(), r.disorder(), r.ended())
	f(" mirror_bytes_per_pod=%.0f heap_bytes_per_pod=%.0f rss_bytes_per_pod=%.0f forms_bytes_per_pod=%.0f rss_end_bytes_per_pod=%.0f",
		r.memory.mirror, r.memory.heap, r.memory.rss, r.memory.forms, r.memory.end)
	f(" churn_per_s=%.1f rounds=%d idle_rounds=%d pods=%d answers=%d others_cpus=%.2f", r.busy.churned, r.busy.played, r.idle.played, r.pods, r.answers(), r.others)
	return b.String()
}

func (r *result) fanP99(which, number int) float64 {
	if number >= len(r.fans[which]) {
		return math.NaN()
	}
	return ms(r.fans[which][number].delays.quantile(0.99))
}

func (r *result) sum(of func(fanned) int) (sum int) {
	for _, one := range r.fans[krm] {
		sum += of(one)
	}
	return sum
}

func (r *result) lost() int     { return r.sum(func(f fanned) int { return f.lost }) }
func (r *result) disorder() int { return r.sum(func(f fanned) int { return f.disorder }) }
func (r *result) ended() int    { return r.sum(func(f fanned) int { return f.ended }) }

func (r *result) answers() (answers int) {
	for _, one := range r.checks {
		answers += one.answers
	}
	return answers
}

// table writes what people read.
func (r *result) table(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	for _, ph := range []*phase{&r.idle, &r.busy} {
		row("%.1f changes/s, %d rounds\tkube-apiserver\t\t\t\tKRM\t\t\t\tratio\t\taim", ph.churned, ph.played)
		row("\tmedian ms\tp99 ms\tn\tbytes\tmedian ms\tp99 ms\tn\tbytes\tmedian\tp99\t")
		for _, j := range r.jobs {
			if !j.fits(ph.rate) {
				continue
			}
			row("%s\t%s\t%s\t%.1f\t%.1f\t%s", j.title, ph.rows[j.key][kube].text(), ph.rows[j.key][krm].text(), ph.ratio(j.key), ph.ratioP99(j.key), aims()[j.key])
			if j.key == getRPS {
				row("  requests/s\t%.0f\t\t\t\t%.0f\t\t\t\t%.1f\t\t%s", median(ph.rows[j.key][kube].perSecond), median(ph.rows[j.key][krm].perSecond), ph.ratio(j.key), aims()[j.key])
			}
			if j.clients == 1 && ph.rows[j.key][kube].samples != nil {
				row("  server CPU per read, ms\t%.1f\t\t\t\t%.1f\t\t\t\t%.1f\t\t%s", 1000*ph.cpuPerRead(j.key, kube), 1000*ph.cpuPerRead(j.key, krm),
					over(ph.cpuPerRead(j.key, kube), ph.cpuPerRead(j.key, krm)), map[bool]string{true: aims()["cpu"]}[j.key == "list_json"])
			}
		}
		row("server CPUs without readers\t%.2f\t\t\t\t%.2f\t", ph.base[kube], ph.base[krm])
		row("")
	}
	row("watchers × changes/s\tside\tp50 ms\tp99 ms\tworst ms\tarrivals\tlost\tout of order\tended\tserver CPUs\taim: p99 ms")
	for _, which := range []int{krm, kube} {
		for _, one := range r.fans[which] {
			row("%d × %.1f\t%s\t%.1f\t%.1f\t%.1f\t%d\t%d\t%d\t%d\t%.2f\t1000", one.watchers, one.rate, [2]string{"kube-apiserver", "KRM"}[which], ms(one.delays.median()),
				ms(one.delays.quantile(0.99)), ms(one.delays.quantile(1)), len(one.delays), one.lost, one.disorder, one.ended, one.cpus)
		}
	}
	row("")
	return w.Flush()
}

func (m *measured) text() string {
	if len(m.samples) == 0 {
		return "\t\t\t"
	}
	size := fmt.Sprint(m.bytes)
	if m.bytes == 0 { // decoded
		size = ""
	}
	return fmt.Sprintf("%.1f\t%.1f\t%d\t%s", ms(m.samples.median()), ms(m.samples.quantile(0.99)), len(m.samples), size)
}

// verdict says what is wrong with a result that is complete.
func (r *result) verdict(cfg config) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if r.answers() == 0 || r.busy.played == 0 {
		fault("nothing was checked")
	}
	for _, one := range r.checks {
		want := 0
		if cfg.plant {
			want = one.answers
		}
		if one.different != want || one.objects == 0 {
			fault("%s: %d of %d objects differ, want %d", one.what, one.different, one.objects, want)
		}
	}
	for _, one := range r.fans[krm] {
		if one.lost+one.disorder+one.ended > 0 || len(one.delays) == 0 {
			fault("%d watchers: %d events lost, %d out of order, %d watchers ended, %d arrivals", one.watchers, one.lost, one.disorder, one.ended, len(one.delays))
		}
	}
	if r.busy.churned < 0.8*float64(cfg.rate) {
		fault("%.1f changes a second, want %d: the figures are not those of that churn", r.busy.churned, cfg.rate)
	}
	return errors.Join(faults...)
}
