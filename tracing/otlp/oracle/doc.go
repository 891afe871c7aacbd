// Package oracle compares what tracing/otlp sends with what OpenTelemetry's own
// exporter sends, by OpenTelemetry's own types. It is a module of its own: those
// bring gRPC along.
package oracle
