package kube

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

func TestConnectRefusesABrokenConfig(t *testing.T) {
	for want, config := range map[string]*rest.Config{
		"connect to https://x: ": {Host: "https://x", TLSClientConfig: rest.TLSClientConfig{CAFile: "/nowhere/ca.crt"}},
		`connect to "%zz"`:       {Host: "%zz"},
	} {
		if _, err := Connect(config, Options{}, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestConnectLeavesTheConfigAsItIs(t *testing.T) {
	config := &rest.Config{Host: "http://x", Timeout: time.Second}
	connect(t, config, Options{UserAgent: "test"})
	if config.UserAgent != "" || config.Timeout != time.Second || config.DisableCompression {
		t.Errorf("config is now %+v", config)
	}
}

func TestWatchTimeout(t *testing.T) {
	c := connect(t, &rest.Config{Host: "http://x"}, Options{})
	for range 100 {
		if got := c.watchTimeout(); got < 5*time.Minute || got > 10*time.Minute {
			t.Fatalf("timeout %v", got)
		}
	}
}

func TestLogTo(t *testing.T) {
	var out bytes.Buffer
	LogTo(slog.New(slog.NewTextHandler(&out, nil)))
	defer klog.ClearLogger()
	klog.Background().Info("told by client-go", "key", "value")
	if got := out.String(); !strings.Contains(got, `msg="told by client-go" key=value`) {
		t.Errorf("logged %q", got)
	}
}
