package server

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/hssgate/hssgate/tracing"
	"github.com/hssgate/hssgate/tracing/otlp"
)

// tracingEnd is how long spans that wait are tried to be sent in the end.
const tracingEnd = 3 * time.Second

// startTracing makes the tracer, if the configuration says where spans are sent,
// and returns what sends those that wait.
func (g *Server) startTracing(ctx context.Context) (end func(), err error) {
	t := &g.Config.Tracing
	if t.Endpoint == "" {
		return func() {}, nil
	}
	_, version, _ := strings.Cut(g.UserAgent, "/")
	instance, _ := os.Hostname() // in a cluster, the pod's name
	log := g.Log.With("component", "tracing")
	provider, err := otlp.New(ctx, otlp.Options{
		Endpoint: t.Endpoint, SamplingRatio: t.SamplingRatio, HeadersFile: t.HeadersFile, CAFile: t.CAFile, Timeout: time.Duration(t.Timeout),
		Version: version, Instance: instance, Metrics: otlp.NewMetrics(metrics.Registry), Log: log,
	})
	if err != nil {
		return nil, err
	}
	g.tracer = provider.Tracer()
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracingEnd)
		defer cancel()
		if err := provider.Close(ctx); err != nil {
			log.Warn("spans that were left were not sent", "error", err)
		}
	}, nil
}

// traceCalls traces a project's calls, if anything is traced.
func (g *Server) traceCalls(project string, base http.RoundTripper) http.RoundTripper {
	if g.tracer == nil {
		return base
	}
	return &tracing.Transport{Tracer: g.tracer, Project: project, Base: base}
}
