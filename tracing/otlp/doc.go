// Package otlp sends spans to an OpenTelemetry collector by OTLP, in protobuf
// over HTTP.
//
// It does what go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp
// does for spans, without the gRPC that comes with that: it would make the
// program a fifth larger. A test compares what both send.
//
// Nothing that goes wrong with the collector is ever in the way of a review:
// spans wait in a queue of bounded length, and are dropped when it is full.
package otlp
