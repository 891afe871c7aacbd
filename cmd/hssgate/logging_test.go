package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-logr/logr"

	"github.com/hssgate/hssgate/config"
)

func TestLibrariesLogTheirInformationForDebugging(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		level   slog.Level
		err     error // nil: information
		message string
		want    string
	}{
		"information":                  {slog.LevelInfo, nil, "Starting Controller", ""},
		"information, while debugging": {slog.LevelDebug, nil, "Starting Controller", "level=DEBUG msg=\"Starting Controller\" a=b"},
		"an error":                     {slog.LevelInfo, errors.New("no"), "Reconciler error", "level=ERROR msg=\"Reconciler error\" a=b err=no"},
	} {
		var out bytes.Buffer
		// controller-runtime drops the verbosity.
		log := logr.New(libraryLogger(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tc.level})).GetSink()).WithValues("a", "b")
		if tc.err == nil {
			log.Info(tc.message)
		} else {
			log.Error(tc.err, tc.message)
		}
		if _, got, _ := strings.Cut(strings.TrimSpace(out.String()), " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestNoValueMakesALogLineLong(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1<<20)
	for _, format := range []string{"json", "text"} {
		for name, value := range map[string]any{
			"a name": long, "an error": errors.New(long), "a list": []string{"a", long, "b"}, "a map": map[string]string{long: long},
			"bytes": []byte(long), "a group": slog.GroupValue(slog.String("in", long)), "a stack": long,
		} {
			var out bytes.Buffer
			handler, err := newLogHandler(&out, "info", format)
			must(t, err)
			slog.New(handler).With("before", long).Info(long, "value", value, "last", "kept")
			if n := out.Len(); n > 16<<10 || !utf8.Valid(out.Bytes()) || !strings.Contains(out.String(), "kept") {
				t.Errorf("%s in %s is a line of %d bytes", name, format, n)
			}
		}
	}
}

func TestOnlyKeyFilesThatEveryUserCanReadAreWarnedOf(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	folder := t.TempDir()
	file := func(mode os.FileMode) string {
		path := filepath.Join(folder, mode.String())
		must(t, os.WriteFile(path, nil, mode))
		must(t, os.Chmod(path, mode))
		return path
	}
	warnOfReadableKeys(slog.New(slog.NewTextHandler(&out, nil)), []config.Project{
		{Name: "a", Credentials: config.Credentials{AccessKeyFile: file(0o644), SecretKeyFile: file(0o440), SecurityTokenFile: file(0o600)}},
		{Name: "b", Credentials: config.Credentials{TokenFile: file(0o604), ProfileFile: filepath.Join(folder, "none")}},
	})
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "project=b") || !strings.Contains(got, file(0o604)) {
		t.Errorf("got %s", got)
	}
}
