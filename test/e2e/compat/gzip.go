package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// unzip replaces a compressed body, and notes that it was one in its content type.
func unzip(a *answer) error {
	if a.header.Get("Content-Encoding") != "gzip" {
		return nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(a.body))
	if err != nil {
		return fmt.Errorf("unzip the answer: %w", err)
	}
	if a.body, err = io.ReadAll(reader); err != nil {
		return fmt.Errorf("unzip the answer: %w", err)
	}
	return nil
}
