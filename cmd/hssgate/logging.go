package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// newLogger returns the logger of the process and makes libraries use it too.
func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	handler, err := newLogHandler(w, level, format)
	if err != nil {
		return nil, usageError(err)
	}
	ctrl.SetLogger(libraryLogger(handler))
	klog.SetLoggerWithOptions(libraryLogger(handler), klog.ContextualLogger(true))
	log := slog.New(handler)
	slog.SetDefault(log) // and of package log, which net/http uses
	return log, nil
}

func newLogHandler(w io.Writer, level, format string) (slog.Handler, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level must be debug, info, warn or error, not %q", level)
	}
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: boundedValue}
	switch format {
	case "json":
		return slog.NewJSONHandler(w, options), nil
	case "text":
		return slog.NewTextHandler(w, options), nil
	}
	return nil, fmt.Errorf("log format must be json or text, not %q", format)
}

// boundedValue cuts long values: names, reasons and errors quote what users and servers send.
func boundedValue(_ []string, a slog.Attr) slog.Attr {
	const maxText, maxOther = 1 << 10, 4 << 10
	limit := maxOther
	switch kind := a.Value.Kind(); {
	case kind == slog.KindString && a.Key != "stack":
		limit = maxText
	case kind != slog.KindString && kind != slog.KindAny:
		return a
	}
	if text := a.Value.String(); len(text) > limit {
		a.Value = slog.StringValue(strings.ToValidUTF8(text[:limit], "") + "…")
	}
	return a
}

// libraryLogger logs the information of controller-runtime and client-go at level debug, and their errors as such.
func libraryLogger(h slog.Handler) logr.Logger { return logr.FromSlogHandler(libraryHandler{h}) }

// libraryHandler lowers levels, since controller-runtime drops the verbosity of the logger that it is given.
type libraryHandler struct{ slog.Handler }

func lowered(level slog.Level) slog.Level {
	if level < slog.LevelWarn {
		return min(level, slog.LevelDebug)
	}
	return level
}

// Enabled implements [slog.Handler].
func (h libraryHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, lowered(level))
}

// Handle implements [slog.Handler].
func (h libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lowered(r.Level)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return libraryHandler{h.Handler.WithAttrs(attrs)}
}

// discardLogs keeps libraries from logging errors that a command reports anyway.
func discardLogs() error {
	_, err := newLogger(io.Discard, "error", "text")
	return err
}
