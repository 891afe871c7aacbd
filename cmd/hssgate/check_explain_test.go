package main

import (
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// What is explained is the answer that was evaluated: a second one may be another.
func TestAnExplanationAsksHSSNothing(t *testing.T) {
	server := hsstest.NewServer(hsstest.WithImages(hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1", ImageType: "private_image", ScanStatus: "success"}))
	defer server.Close()
	config := probeConfig(t, server.URL)
	requests := func(args ...string) (stdout string, count int) {
		server.ResetStats()
		stdout, _, _ = run(t, append([]string{"check", "swr.example.com/prod/app:1", "swr.example.com/prod/none:1", "--preset", "strict", "--config", config}, args...)...)
		for _, stats := range server.Stats().Endpoints {
			count += stats.Requests
		}
		return stdout, count
	}
	_, want := requests()
	stdout, got := requests("--explain")
	if got != want {
		t.Errorf("an explanation takes %d requests, want %d as without one", got, want)
	}
	for _, part := range []string{"row 1: prod/app:1", "it fits", "no row came back"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in %s", part, stdout)
		}
	}
}
