package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// benchSummary is what a kubelet says of 30 pods with 2 containers, and psi what it says
// since Kubernetes 1.36.
func benchSummary(psi string) []byte {
	at := `"time":"2026-11-21T17:10:20Z"`
	cpu := func(i int) string {
		return fmt.Sprintf(`"cpu":{%s,"usageNanoCores":%d,"usageCoreNanoSeconds":%d%s}`, at, 56704804+i*7, 8946305535+i*1234567, psi)
	}
	memory := func(i int) string {
		return fmt.Sprintf(`"memory":{%s,"availableBytes":%d,"usageBytes":%d,"workingSetBytes":%d,"rssBytes":%d,"pageFaults":%d,"majorPageFaults":%d%s}`,
			at, 72310784+i, 61906944+i, 61906944+i, 60809216+i, 19339+i, i, psi)
	}
	disk := at + `,"availableBytes":62895550464,"capacityBytes":270553174016,"usedBytes":45056,"inodesFree":15782194,"inodes":16777216,"inodesUsed":14`
	network := `"network":{` + at + `,"name":"eth0","rxBytes":1851377366,"rxErrors":0,"txBytes":9460667,"txErrors":0,` +
		`"interfaces":[{"name":"eth0","rxBytes":1851377366,"rxErrors":0,"txBytes":9460667,"txErrors":0}]}`
	swap := `"swap":{` + at + `,"swapAvailableBytes":0,"swapUsageBytes":0}`
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"node":{"nodeName":"real-1","startTime":"2026-11-21T15:57:17Z",%s,%s,%s,"fs":{%s},"systemContainers":[`, cpu(1), memory(1), network, disk)
	for i, name := range []string{"kubelet", "runtime", "pods"} {
		fmt.Fprintf(&b, `%s{"name":"%s","startTime":"2026-11-21T17:04:13Z",%s,%s,%s}`, comma(i), name, cpu(i), memory(i), swap)
	}
	b.WriteString(`]},"pods":[`)
	for p := range 30 {
		fmt.Fprintf(&b, `%s{"podRef":{"name":"web-597bf88d85-6jn%02d","namespace":"default","uid":"c3f6a06d-aca2-4a11-bdbb-c4e707a559%02d"},"startTime":"2026-11-21T17:07:30Z","containers":[`, comma(p), p, p)
		for c := range 2 {
			fmt.Fprintf(&b, `%s{"name":"app%d","startTime":"2026-11-21T17:07:30Z",%s,%s,"rootfs":{%s},"logs":{%s},%s}`, comma(c), c, cpu(p+c), memory(p+c), disk, disk, swap)
		}
		fmt.Fprintf(&b, `],%s,%s,%s,"volume":[{%s,"name":"kube-api-access-x"}],"ephemeral-storage":{%s},"process_stats":{"process_count":1}}`, cpu(p), memory(p), network, disk, disk)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

const somePSI = `,"psi":{"full":{"total":0,"avg10":0,"avg60":0,"avg300":0},"some":{"total":0,"avg10":0,"avg60":0,"avg300":0}}`

// BenchmarkSummary compares with the standard library over Kubernetes' types.
func BenchmarkSummary(b *testing.B) {
	for name, body := range map[string][]byte{"plain": benchSummary(""), "psi": benchSummary(somePSI)} {
		b.Run(name+"/ours", func(b *testing.B) {
			d := NewDecoder(nil)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				s := NewSample("real-1")
				if err := d.Summary(body, s); err != nil {
					b.Fatal(err)
				}
				if len(s.Sets) != 94 {
					b.Fatalf("%d sets", len(s.Sets))
				}
				s.Release()
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var s stats.Summary
				if err := json.Unmarshal(body, &s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
