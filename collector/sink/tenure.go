package sink

import (
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Remembered is how long an entity keeps its row after it was last seen: longer than
// readers keep batches.
const Remembered = 20 * time.Minute

// Tenure is the time in which one collector works for a cluster (or a shard), and
// others stand by. A sink that many collectors could write to at once decides who.
type Tenure struct {
	Number  int  // counts them; 0 before it is known who works
	Standby bool // another one works: there is no need to scrape
	// Base is the newest batch of the collector before us, to go on from: nil if there
	// was none, or if it was ourselves.
	Base   *metrics.Batch
	Ledger *metrics.Ledger // goes on from Base; nil without it
}
