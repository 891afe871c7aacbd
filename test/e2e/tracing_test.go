package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// testTracing has a gate export the spans of a pod's review. webhook, internal/gate and internal/tracing test what they hold.
func testTracing(t *testing.T, c *cluster) {
	var mu sync.Mutex
	var exported bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&exported, r.Body) // texts are in protobuf as they are
	}))
	t.Cleanup(collector.Close)
	g := c.newGate(t, setup{name: "traced", hss: mainHSS(t, row("traced", high)), environment: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=" + secretKey, "OTEL_BSP_SCHEDULE_DELAY=200",
	}})
	const image = "main.example.com/prod/traced:1"
	s := g.enforced(t)
	s.denied(t, s.run(t, newPod("web", image)), `pod "web"`, []string{highLine(s, image)}, adviseRebuild)
	for _, want := range []string{
		"review", "k8s.namespace.name", s.name, "decision", "hssgate.decision.outcome", s.name + "-p", "image look-up", image, "hss.project", "hss.request_id",
	} {
		eventually(t, func() error {
			mu.Lock()
			defer mu.Unlock()
			if !bytes.Contains(exported.Bytes(), []byte(want)) {
				return fmt.Errorf("%d bytes of spans without %s", exported.Len(), want)
			}
			return nil
		})
	}
}
