package otlp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/tracing"
)

// Bounds of what waits to be sent: some megabytes.
const (
	maxQueue = 2048
	maxBatch = 512
	// maxText bounds a text of a span, in characters, and maxAttributes how
	// many things it tells.
	maxText       = 4096
	maxAttributes = 64
)

// Options say where spans are sent, and which.
type Options struct {
	// Endpoint is the collector's, such as http://collector:4318.
	Endpoint string
	// SamplingRatio is the part of traces that are recorded, from 0 to 1, of
	// those that begin here. Of others, whoever began them has decided.
	SamplingRatio float64
	// HeadersFile holds headers to send, one a line; empty: none.
	HeadersFile string
	// CAFile holds the authorities that the endpoint is trusted by, in PEM;
	// empty: the system's.
	CAFile string
	// Timeout is how long spans are tried to be sent.
	Timeout time.Duration
	// Delay is how long spans wait for others; 0: 5 s.
	Delay time.Duration
	// Version is that of hssgate.
	Version string
	// Instance tells this replica from others.
	Instance string
	// Metrics counts spans; nil: nobody counts.
	Metrics *Metrics
	Log     *slog.Logger
}

// Provider makes the tracer of a process.
type Provider struct{ provider *sdktrace.TracerProvider }

// New returns a Provider. It asks nobody: a collector that isn't there is no
// reason not to start. Close it to send what waits.
func New(ctx context.Context, o Options) (*Provider, error) {
	e, err := NewExporter(o)
	if err != nil {
		return nil, err
	}
	of, err := o.resource(ctx)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	batches := []sdktrace.BatchSpanProcessorOption{
		sdktrace.WithMaxQueueSize(maxQueue), sdktrace.WithMaxExportBatchSize(maxBatch), sdktrace.WithExportTimeout(o.Timeout),
		sdktrace.WithBatchTimeout(sdktrace.DefaultScheduleDelay * time.Millisecond),
	}
	if o.Delay > 0 {
		batches = append(batches, sdktrace.WithBatchTimeout(o.Delay))
	}
	limits := sdktrace.SpanLimits{
		AttributeValueLengthLimit: maxText, AttributeCountLimit: maxAttributes, EventCountLimit: maxAttributes, LinkCountLimit: maxAttributes,
		AttributePerEventCountLimit: maxAttributes, AttributePerLinkCountLimit: maxAttributes,
	}
	return &Provider{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(e, batches...), sdktrace.WithResource(of), sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SamplingRatio))),
	)}, nil
}

// Tracer returns hssgate's tracer.
func (p *Provider) Tracer() trace.Tracer { return p.provider.Tracer(tracing.Name) }

// Close sends what waits, for as long as ctx allows.
func (p *Provider) Close(ctx context.Context) error { return p.provider.Shutdown(ctx) }

// resource says who traces. OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME may
// say more, and otherwise: an operator sets them on pods.
func (o *Options) resource(ctx context.Context) (*resource.Resource, error) {
	ours := []attribute.KeyValue{attribute.String("service.name", "hssgate"), attribute.String("service.version", o.Version)}
	if o.Instance != "" {
		ours = append(ours, attribute.String("service.instance.id", o.Instance))
	}
	r, err := resource.New(ctx, resource.WithAttributes(ours...), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe the process: %w", err)
	}
	return r, nil
}

// NewExporter returns what sends spans to the endpoint. It logs what goes wrong,
// and returns no error of it.
func NewExporter(o Options) (sdktrace.SpanExporter, error) {
	target, err := url.JoinPath(o.Endpoint, tracesPath)
	if err != nil {
		return nil, fmt.Errorf("tracing: endpoint: %w", err)
	}
	client, err := newClient(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	headers := headersFile(o.HeadersFile)
	if _, err := headers(); err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	return &exporter{url: target, headers: headers, client: client, timeout: o.Timeout, metrics: o.Metrics, log: o.Log}, nil
}

// newClient follows no redirects: the headers may hold a secret.
func newClient(caFile string) (*http.Client, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("http.DefaultTransport is a %T, not an *http.Transport", http.DefaultTransport)
	}
	transport := base.Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(filepath.Clean(caFile))
		if err != nil {
			return nil, fmt.Errorf("read caFile: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("caFile %s holds no PEM certificate", caFile)
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
