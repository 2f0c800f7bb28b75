package metrics

import "time"

// Ledger gives entities their rows, and keeps them over batches, so that columns of
// successive batches line up. A row is given to another entity only after its own
// was in no batch for the time that readers keep batches. It is for one goroutine,
// as is the batch that is being built.
type Ledger struct {
	keep  time.Duration
	rows  [Kinds]map[child]Row
	seen  [Kinds][]time.Time
	free  [Kinds][]Row
	names [Kinds][]child
	next  [Kinds]Row // after the row that was asked for last
	last  *Batch
}

// child names an entity below its parent.
type child struct {
	parent Ref
	name   string
}

// NewLedger returns an empty ledger that remembers an entity for keep after it was
// last seen: longer than any reader keeps batches.
func NewLedger(keep time.Duration) *Ledger {
	l := &Ledger{keep: keep}
	for kind := range Kinds {
		l.rows[kind] = map[child]Row{}
	}
	return l
}

// Begin starts the batch of the window that ends at t. What the batch before knew of
// entities (images, Meta) is known to it too; it has no live row but the cluster's.
// Begin forgets entities that were not seen for long.
func (l *Ledger) Begin(cluster string, t time.Time, resolution time.Duration) *Batch {
	l.forget(t)
	b := &Batch{Cluster: cluster, Shards: 1, Time: t, Resolution: resolution, ledger: l}
	for kind := range Kinds {
		table := &Table{Kind: kind}
		if l.last != nil {
			before := l.last.Tables[kind]
			table.Entities = make([]Entity, len(before.Entities), len(before.Entities)+64)
			copy(table.Entities, before.Entities)
			for _, row := range l.free[kind] {
				table.Entities[row] = Entity{}
			}
			// Columns that were there will most likely come again, and as long.
			for id, c := range before.columns {
				if c != nil {
					table.columns[id] = &Column{Metric: c.Metric, Values: make([]int64, len(c.Values)), Has: make(Bitmap, len(c.Has))}
				}
			}
		}
		b.Tables[kind] = table
	}
	b.Row(Cluster, Ref{}, "")
	l.last = b
	return b
}

// row finds or gives a row.
func (l *Ledger) row(kind Kind, parent Ref, name string, at time.Time) Row {
	who := child{parent, name}
	// Samples come in the order of the last window's, so it is most likely the next one.
	row := l.next[kind]
	ok := int(row) < len(l.names[kind]) && l.names[kind][row] == who && name != ""
	if !ok {
		row, ok = l.rows[kind][who]
	}
	if !ok {
		if n := len(l.free[kind]); n > 0 {
			row, l.free[kind] = l.free[kind][n-1], l.free[kind][:n-1]
		} else {
			row = Row(len(l.names[kind]))
			l.names[kind], l.seen[kind] = append(l.names[kind], child{}), append(l.seen[kind], time.Time{})
		}
		l.rows[kind][who], l.names[kind][row] = row, who
	}
	l.seen[kind][row], l.next[kind] = at, row+1
	return row
}

func (l *Ledger) find(kind Kind, parent Ref, name string) (Row, bool) {
	row, ok := l.rows[kind][child{parent, name}]
	return row, ok
}

// forget frees the rows of what was not seen for long. Whoever is below something
// was not seen later than that.
func (l *Ledger) forget(now time.Time) {
	for kind := range Kinds {
		for row, seen := range l.seen[kind] {
			who := l.names[kind][row]
			if who.name == "" || now.Sub(seen) <= l.keep {
				continue // it is free, or the cluster's, or remembered
			}
			delete(l.rows[kind], who)
			l.names[kind][row] = child{}
			l.free[kind] = append(l.free[kind], Row(row))
		}
	}
}

// ResumeLedger returns a ledger that goes on from a batch that a Model returned: what
// was remembered keeps its rows.
func ResumeLedger(keep time.Duration, last *Batch) *Ledger {
	l := NewLedger(keep)
	for kind, t := range last.Tables {
		l.names[kind] = make([]child, len(t.Entities))
		l.seen[kind] = make([]time.Time, len(t.Entities))
		for row, e := range t.Entities {
			if e.Name == "" && Kind(kind) != Cluster {
				l.free[kind] = append(l.free[kind], Row(row))
				continue
			}
			who := child{e.Parent, e.Name}
			l.rows[kind][who], l.names[kind][row], l.seen[kind][row] = Row(row), who, last.Time
		}
	}
	l.last, last.ledger = last, l
	return l
}
