package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"
)

// NewProvider returns what makes and exports spans as the standard OTEL_* variables of the environment say,
// or nil if they name no OTLP endpoint. A collector that is down is no error. Shut the provider down to send
// the spans that wait.
func NewProvider(ctx context.Context, version string, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	if set, err := endpointSet(); err != nil || !set {
		return nil, err
	}
	otel.SetLogger(logr.Discard()) // its messages repeat headers that can't be parsed
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("create the exporter of traces: %w", err)
	}
	otel.SetErrorHandler(&failures{log, rate.NewLimiter(rate.Every(time.Minute), 1)})
	instance, _ := os.Hostname() // the pod's name
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "hssgate"), attribute.String("service.version", version), attribute.String("service.instance.id", instance),
	), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this process for traces: %w", err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about)), nil
}

// endpointSet reports whether the environment names an endpoint for traces, and checks it: the exporter
// would send to localhost instead of a URL that it can't parse.
func endpointSet() (bool, error) {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	set := false
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		value := strings.TrimSpace(os.Getenv(name))
		if value == "" {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			return false, fmt.Errorf("%s must be a URL such as http://collector.observability:4318, without a password", name)
		}
		set = true
	}
	return set, nil
}

// failures logs why spans were not exported, at most once a minute.
type failures struct {
	log   *slog.Logger
	lines *rate.Limiter
}

// Handle logs an error without the headers' values and without more than a line of the collector's answer.
func (f *failures) Handle(err error) {
	if !f.lines.Allow() {
		return
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	for header := range strings.SplitSeq(os.Getenv("OTEL_EXPORTER_OTLP_HEADERS")+","+os.Getenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS"), ",") {
		_, value, _ := strings.Cut(header, "=")
		decoded, _ := url.PathUnescape(value)
		for _, secret := range []string{strings.TrimSpace(value), strings.TrimSpace(decoded)} {
			if secret != "" {
				text = strings.ReplaceAll(text, secret, "[redacted]")
			}
		}
	}
	f.log.Warn("traces not sent to the OpenTelemetry collector", "error", text[:min(len(text), 500)])
}
