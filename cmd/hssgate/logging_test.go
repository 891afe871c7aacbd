package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

func TestLibrariesLogTheirInformationForDebugging(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		level, logged slog.Level
		message, want string
	}{
		"information":                         {slog.LevelInfo, slog.LevelInfo, "Starting Controller", ""},
		"information, while debugging":        {slog.LevelDebug, slog.LevelInfo, "Starting Controller", "level=DEBUG msg=\"Starting Controller\" a=b g.c=d"},
		"a warning":                           {slog.LevelInfo, slog.LevelWarn, "watch failed", "level=WARN msg=\"watch failed\" a=b g.c=d"},
		"an error":                            {slog.LevelInfo, slog.LevelError, "Reconciler error", "level=ERROR msg=\"Reconciler error\" a=b g.c=d"},
		"what a graceful stop calls an error": {slog.LevelInfo, slog.LevelError, "error received after stop sequence was engaged", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log := slog.New(libraryHandler{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tc.level})})
			log.With("a", "b").WithGroup("g").Log(context.Background(), tc.logged, tc.message, "c", "d")
			_, got, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
