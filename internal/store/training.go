package store

import (
	"context"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// trainer is the Log's way to its dictionary: the first batch that has enough
// records trains one, and a resync that brings ten times what there was trains
// another. Old dictionaries stay in Redis, for objects that do not change.
type trainer struct {
	packer   *packer // nil before the first Acquire or Append
	trained  int64   // objects that there were when the dictionary was trained
	expect   int64   // objects that the running resync brings
	retrain  bool    // and they are many more than trained
	hopeless bool    // training failed; the next resync may try again
	unnamed  bool    // the log's meta does not name the dictionary yet
}

// loadDictionary makes the packer: with the dictionary that the log's meta
// names, if Redis or we still have it. It is written again, in case Redis lost it.
func (l *Log) loadDictionary(ctx context.Context, meta map[string]string) error {
	dict, err := l.codec.load(ctx, meta["dict"])
	if err != nil {
		return err
	}
	if dict != nil {
		l.trained, _ = strconv.ParseInt(meta["dictObjects"], 10, 64) // 0 trains again, which is harmless
	} else if l.packer != nil {
		dict, l.unnamed = l.packer.dict, true
	}
	if dict != nil {
		if err := l.codec.save(ctx, dict); err != nil {
			return err
		}
	}
	if l.packer == nil || l.packer.dict != dict {
		l.packer, err = newPacker(dict)
	}
	return err
}

// prepareDictionary trains a dictionary if it is time, and items have enough records.
func (l *Log) prepareDictionary(ctx context.Context, items []object.LogItem) error {
	if l.packer == nil {
		return object.ErrFenced // never acquired
	}
	for _, item := range items {
		if item.Kind == object.ItemResyncBegin {
			l.expect = item.Resync.Expect
			l.retrain = l.expect >= retrainAfter*max(l.trained, 1)
			l.hopeless = false
		}
	}
	if l.hopeless || l.packer.dict != nil && !l.retrain {
		return nil
	}
	records := recordsOf(items)
	if len(records) < trainLeast {
		return nil
	}
	return l.train(ctx, records)
}

func (l *Log) train(ctx context.Context, records []object.Record) error {
	start := time.Now()
	dict, err := train(records)
	if err != nil {
		l.hopeless = true
		l.log.Warn("no dictionary: bodies take more memory", "err", err)
		return nil
	}
	packer, err := newPacker(dict)
	if err != nil {
		return err
	}
	if err := l.codec.save(ctx, dict); err != nil {
		return err
	}
	l.packer, l.trained = packer, max(int64(len(records)), l.expect)
	l.retrain, l.unnamed = false, true
	l.log.Info("dictionary trained", "dictionary", dict.id, "records", len(records), "bytes", len(dict.content), "took", time.Since(start))
	return nil
}

func recordsOf(items []object.LogItem) []object.Record {
	var records []object.Record
	for _, item := range items {
		if item.Kind == object.ItemRecord && len(item.Record.Body) > 0 {
			records = append(records, item.Record)
		}
	}
	return records
}
