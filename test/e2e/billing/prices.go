package main

import "math/big"

// prices are what krm is started with.
const prices = `currency: CHF
prices:
  cpu_billed_core_hours: "0.0310"
  memory_billed_gib_hours: "0.0041"
  gpu_hours: "1.255"
  claims_requested_gib_hours: "0.00007"
  network_out_gib: "0.05"
rules:
- {namespaces: [batch, month-beta], prices: {cpu_billed_core_hours: "0.0205", network_out_gib: "0"}}
`

// priceOf is what a bill costs in a namespace, exactly.
func priceOf(namespace string, b *bill) *big.Rat {
	rates := map[int]string{cpuBilled: "0.0310", memoryBilled: "0.0041", gpuTime: "1.255", claimsRequested: "0.00007", networkOut: "0.05"}
	if namespace == "batch" || namespace == "month-beta" {
		rates[cpuBilled], rates[networkOut] = "0.0205", "0"
	}
	cost := new(big.Rat)
	for column, rate := range rates {
		price, ok := new(big.Rat).SetString(rate)
		if !ok {
			panic("BUG: the price " + rate)
		}
		cost.Add(cost, price.Mul(price, b.amounts[column]))
	}
	return cost
}
