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

	"github.com/hssgate/hssgate/config"
)

// libraryHandler logs what controller-runtime and client-go have to say: their
// information is for debugging, lest it hide hssgate's own few lines.
type libraryHandler struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (h libraryHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, lowered(level))
}

// Handle implements [slog.Handler].
func (h libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lowered(r.Level)
	if endsLeading(r) {
		r.Level = slog.LevelDebug
		if !h.Handler.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

// endsLeading reports whether controller-runtime logs, as an error, that a
// replica which stops no longer leads.
func endsLeading(r slog.Record) (ends bool) {
	if r.Message != "error received after stop sequence was engaged" {
		return false
	}
	r.Attrs(func(a slog.Attr) bool {
		ends = a.Value.String() == "leader election lost"
		return !ends
	})
	return ends
}

// WithAttrs implements [slog.Handler].
func (h libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return libraryHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h libraryHandler) WithGroup(name string) slog.Handler {
	return libraryHandler{h.Handler.WithGroup(name)}
}

// lowered makes debugging of information.
func lowered(level slog.Level) slog.Level {
	if level < slog.LevelWarn {
		return min(level, slog.LevelDebug)
	}
	return level
}

// The bounds of the values of a log line, in bytes: of one text, and of a list,
// an error or a stack.
const (
	maxLoggedText = 1 << 10
	maxLoggedAny  = 4 << 10
)

// boundedValue cuts a long value: names, reasons and errors hold what users and
// servers send.
func boundedValue(_ []string, a slog.Attr) slog.Attr {
	most := maxLoggedAny
	switch a.Value.Kind() {
	case slog.KindAny:
	case slog.KindString:
		if a.Key != "stack" {
			most = maxLoggedText
		}
	default:
		return a
	}
	if text := a.Value.String(); len(text) > most {
		a.Value = slog.StringValue(strings.ToValidUTF8(text[:most], "") + "…")
	}
	return a
}

// newLogger makes the one logger of the process, for the libraries too.
func newLogger(w io.Writer, c config.Logging) (*slog.Logger, error) {
	return newLoggerAt(w, c, &slog.LevelVar{})
}

// newLoggerAt makes it with a level that can be changed, and that it sets.
func newLoggerAt(w io.Writer, c config.Logging, level *slog.LevelVar) (*slog.Logger, error) {
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, usageError{fmt.Errorf("log level must be debug, info, warn or error, not %q", c.Level)}
	}
	handler, err := newLogHandler(w, c.Format, level)
	if err != nil {
		return nil, err
	}
	ctrl.SetLogger(logr.FromSlogHandler(libraryHandler{handler}))
	klog.SetSlogLogger(slog.New(libraryHandler{handler}))
	log := slog.New(handler)
	slog.SetDefault(log) // and of package log, which net/http uses
	return log, nil
}

// newLogHandler makes the handler, which bounds what is logged.
func newLogHandler(w io.Writer, format string, level slog.Leveler) (slog.Handler, error) {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: boundedValue}
	switch format {
	case "json":
		return slog.NewJSONHandler(w, options), nil
	case "text":
		return slog.NewTextHandler(w, options), nil
	}
	return nil, usageError{fmt.Errorf("log format must be json or text, not %q", format)}
}
