package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/hssgate/hssgate/config"
)

// newLogger makes the one logger of the process, for the libraries too.
func newLogger(w io.Writer, c config.Logging) (*slog.Logger, error) {
	return newLoggerAt(w, c, &slog.LevelVar{})
}

// newLoggerAt makes it with a level that can be changed, and that it sets.
func newLoggerAt(w io.Writer, c config.Logging, level *slog.LevelVar) (*slog.Logger, error) {
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, usageError{fmt.Errorf("log level must be debug, info, warn or error, not %q", c.Level)}
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler
	switch c.Format {
	case "json":
		handler = slog.NewJSONHandler(w, options)
	case "text":
		handler = slog.NewTextHandler(w, options)
	default:
		return nil, usageError{fmt.Errorf("log format must be json or text, not %q", c.Format)}
	}
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	log := slog.New(handler)
	klog.SetSlogLogger(log)
	slog.SetDefault(log) // and of package log, which net/http uses
	return log, nil
}
