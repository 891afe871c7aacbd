package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/config"
)

const leveledConfig = `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects: [{name: p, region: cn-north-4}]
registries: [{name: r, hosts: [r.example.com]}]
logging: {level: LEVEL}
`

func TestTheLogLevelFollowsTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	begin := time.Now()
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		// Two writes may come within one tick of the file system's clock.
		begin = begin.Add(time.Second)
		if err := os.Chtimes(path, begin, begin); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.ReplaceAll(leveledConfig, "LEVEL", "error"))
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var level slog.LevelVar
		level.Set(slog.LevelError)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			followLevel(ctx, path, &level, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: &level})))
		}()
		synctest.Wait()
		for _, step := range []struct {
			name, content string
			want          slog.Level
			logged        string
		}{
			{"to debug", strings.ReplaceAll(leveledConfig, "LEVEL", "debug"), slog.LevelDebug, `level=INFO msg="log level changed" from=ERROR to=DEBUG`},
			{"a broken file changes nothing", "nonsense: true", slog.LevelDebug, "the log level stays"},
			{"the same level is no change", strings.ReplaceAll(leveledConfig, "LEVEL", "debug") + "dryRun: true", slog.LevelDebug, ""},
			{"back to error", strings.ReplaceAll(leveledConfig, "LEVEL", "error"), slog.LevelError, `level=INFO msg="log level changed" from=DEBUG to=ERROR`},
		} {
			log.Reset()
			write(step.content)
			time.Sleep(2 * levelInterval)
			synctest.Wait()
			if level.Level() != step.want || !strings.Contains(log.String(), step.logged) || (step.logged == "" && log.Len() > 0) {
				t.Errorf("%s: the level is %s, logged: %s", step.name, level.Level(), log.String())
			}
		}
		cancel()
		<-done
	})
}

func TestALoggerTakesItsLevel(t *testing.T) {
	var level slog.LevelVar
	if _, err := newLoggerAt(&bytes.Buffer{}, config.Logging{Level: "warn", Format: "text"}, &level); err != nil {
		t.Fatal(err)
	}
	if level.Level() != slog.LevelWarn {
		t.Errorf("the level is %s", level.Level())
	}
}
