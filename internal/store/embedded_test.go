package store

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

func TestEmbedded(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.server.Close)
	testContract(t, &server{options: e.Options(), pass: e.server.FastForward})
}

func TestEmbeddedLetsLeasesExpire(t *testing.T) {
	t.Parallel()
	LogTo(slog.New(slog.DiscardHandler))
	e, err := StartEmbedded(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	options := e.Options()
	options.LeaseTTL = 200 * time.Millisecond
	for range 2 { // the second waits until the first one's lease ran out
		s, err := Connect(t.Context(), options, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Log(podsResource).Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	options.Password = ""
	if _, err := Connect(t.Context(), options, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("connected to a server that ended")
	}
}
