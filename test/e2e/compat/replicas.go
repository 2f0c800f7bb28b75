package main

import "context"

func replicasPart(ctx context.Context, h *house, r *result) error { return nil }
