// Package otlptest is an OpenTelemetry collector for tests: it takes spans by
// OTLP over HTTP, as a real one does, and shows them. What it reads is compared
// with what the official types read in tracing/otlp/oracle.
package otlptest
