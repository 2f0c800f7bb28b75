package main

import "context"

func plantedPart(ctx context.Context, h *house, r *result) error { return nil }
