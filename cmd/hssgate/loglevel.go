package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/hssgate/hssgate/config"
)

// levelInterval is how often the configuration file is looked at.
const levelInterval = 10 * time.Second

// followLevel sets the level to that of the configuration file whenever the file
// changes, until ctx ends. The file is the one way to change it: whoever may
// write it decides anyway what hssgate does, and nothing need listen for it.
func followLevel(ctx context.Context, path string, level *slog.LevelVar, log *slog.Logger) {
	ticker := time.NewTicker(levelInterval)
	defer ticker.Stop()
	seen := stateOf(path)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := stateOf(path); now != seen {
			seen = now
			readLevel(ctx, path, level, log)
		}
	}
}

// fileState changes when a file is written.
type fileState struct {
	at   time.Time
	size int64
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{info.ModTime(), info.Size()}
}

func readLevel(ctx context.Context, path string, level *slog.LevelVar, log *slog.Logger) {
	c, err := config.Load(path)
	if err != nil {
		log.Warn("the configuration has changed, but can't be read: the log level stays", "config", path, "error", err)
		return
	}
	before := level.Level()
	if err := level.UnmarshalText([]byte(c.Logging.Level)); err != nil || level.Level() == before {
		return
	}
	// It is no error that anybody should be alarmed by, and yet must be seen at
	// any level: so the handler gets it without being asked whether it wants it.
	changed := slog.NewRecord(time.Now(), slog.LevelInfo, "log level changed", 0)
	changed.Add("from", before.String(), "to", level.Level().String())
	_ = log.Handler().Handle(ctx, changed) // as a Logger does
}
